"""Own loop: a server with a ``serve_forever`` of its own, run as it is.

It must not know what that loop does. It is stopped by the server's own ``shutdown()``, and woken where it waits for a
client: in ``accept``, by the bell of its listener; in ``select`` or ``poll``, by a signal and a listener that is
readable from then on, because its descriptor names the bell.
Invariant: when ``serve`` returns, no loop runs any more, and every descriptor names its listener again.
Read next: ``stopping.py``; ``prefork/servers/inherited.py``, where accept hears the bell.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

from prefork.servers.inherited import InheritedSocket
from prefork.system.bell import Bell
from prefork.worker.protocol import READ_YOUR_ORDERS
from prefork.worker.stopping import Stopping


class OwnLoop:
    """:param servers: one runs in the main thread, each other in one of its own."""

    def __init__(self, servers: Sequence[Any], stopping: Stopping) -> None:
        self._servers = servers
        self._stopping = stopping
        self._bell = Bell()
        self._listeners: dict[int, int] = {}  # the descriptors that name the bell, and where the listener is meanwhile
        self._others: list[threading.Thread] = []

    def serve(self) -> None:
        """Let them serve until they are told to stop.

        :raises BaseException: what a ``serve_forever`` raises.
        :raises RuntimeError: one returned although nobody told it to.
        """
        InheritedSocket.bell = self._bell
        self._stopping.when_begun(self._wake)
        self._others = [threading.Thread(target=_serve, args=(server,), daemon=True) for server in self._servers[1:]]
        for thread in self._others:
            thread.start()
        self._servers[0].serve_forever()
        for thread in self._others:
            thread.join()
        InheritedSocket.bell = None
        self._restore()
        if not self._stopping.has_begun:
            raise RuntimeError("serve_forever returned although nobody told the server to stop")

    def _wake(self) -> None:
        """Called by the main thread, in a signal handler: what it interrupted waits again, and finds news."""
        self._bell.ring()
        for server in self._servers:
            with contextlib.suppress(AttributeError, NotImplementedError, OSError):
                fd = server.fileno()
                if fd not in self._listeners:
                    self._listeners[fd] = os.dup(fd)
                    os.dup2(self._bell.fileno(), fd, inheritable=False)
        for thread in self._others:
            if thread.ident is not None and thread.is_alive():
                signal.pthread_kill(thread.ident, READ_YOUR_ORDERS)

    def _restore(self) -> None:
        """Give the listeners their descriptors back, as far as their servers have not closed them."""
        still_open = set()
        for server in self._servers:
            with contextlib.suppress(AttributeError, NotImplementedError, OSError):
                still_open.add(server.fileno())
        for fd, listener in self._listeners.items():
            if fd in still_open:
                os.dup2(listener, fd, inheritable=False)
            os.close(listener)


def _serve(server: Any) -> None:
    """One of several. If it ends, all of them leave: nobody would notice a worker that serves only some listeners."""
    try:
        server.serve_forever()
    finally:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
