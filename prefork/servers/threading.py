"""The threading strategy: each request in a thread of its own, as many at a time as ``max_threads``.

It must not know what a request is.
Invariant: whatever leaves a handler ends its request and, at most, its thread; never the room for another.
Read next: ``crew.py``, the threads.
"""

import socketserver
from typing import TYPE_CHECKING, Any

from prefork.servers.crew import Crew
from prefork.servers.inet import TCPServer, UDPServer
from prefork.servers.unix import UnixDatagramServer, UnixStreamServer

if TYPE_CHECKING:
    from prefork.servers.base import BaseServer as _Server
else:
    _Server = object  # mixed with servers of ours or of the standard library


class ThreadingMixIn(socketserver.ThreadingMixIn, _Server):
    """Handles each request in a thread. While ``serve_forever`` runs, threads serve one request after another.

    :cvar max_threads: requests handled at a time; further clients wait in the kernel's queue. Set it before serving.
    :cvar daemon_threads: whether the program may end while threads are busy.
    :cvar block_on_close: whether ``server_close`` waits for busy threads that are no daemons.
    """

    daemon_threads = False
    block_on_close = True
    max_threads = 1024
    # the name is the original's, whose server_close stands below ours and joins what it finds here
    _threads: Any = socketserver.ThreadingMixIn._threads  # type: ignore[attr-defined]

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Handle requests until ``shutdown()``; the threads are kept as long."""
        crew = self._crew()
        crew.keep()
        try:
            super().serve_forever(poll_interval)
        finally:
            crew.dismiss()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Let a thread do the rest."""
        crew = self._crew()
        crew.wait_for_room()  # a loop of ours asks before; the standard library's does not
        crew.hand_over(
            (self.process_request_thread, (request, client_address)),
            daemon=self.daemon_threads,
            awaited=self.block_on_close and not self.daemon_threads,
        )

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Finish and shut down one request, in its thread."""
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)

    def server_close(self) -> None:
        """Close the listener, and wait for the threads if ``block_on_close``."""
        super().server_close()
        self._threads.join()

    def _crew(self) -> Crew:
        if "_threads" not in vars(self):
            self._threads = Crew(self.max_threads, getattr(self, "_ring", _nobody_waits))
        return self._threads  # type: ignore[no-any-return]  # Any only where nobody has served yet

    def _has_room(self) -> bool:
        return self._crew().has_room


def _nobody_waits() -> None:
    """The standard library's loop hears nothing; it waits for room in ``process_request``."""


class ThreadingTCPServer(ThreadingMixIn, TCPServer, socketserver.ThreadingTCPServer):
    """TCP, a thread a connection."""


class ThreadingUDPServer(ThreadingMixIn, UDPServer, socketserver.ThreadingUDPServer):
    """UDP, a thread a datagram."""


class ThreadingUnixStreamServer(ThreadingMixIn, UnixStreamServer, socketserver.ThreadingUnixStreamServer):
    """A Unix stream socket, a thread a connection."""


class ThreadingUnixDatagramServer(ThreadingMixIn, UnixDatagramServer, socketserver.ThreadingUnixDatagramServer):
    """A Unix datagram socket, a thread a datagram."""
