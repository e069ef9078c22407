"""Own loop: a server with a ``serve_forever`` of its own, run as it is.

It must not know what that loop does. It is stopped by the server's own ``shutdown()``, and by the bell of its listener
where it waits there.
Invariant: when ``serve`` returns, no loop runs any more.
Read next: ``stopping.py``.
"""

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from prefork.servers.inherited import InheritedSocket
from prefork.system.bell import Bell
from prefork.worker.stopping import Stopping

logger = logging.getLogger("prefork.worker")


class OwnLoop:
    """:param servers: one runs in the main thread, each other in one of its own.
    :param reopen_log: on SIGUSR1, for nobody reads the wakeup pipe meanwhile.
    """

    def __init__(self, servers: Sequence[Any], stopping: Stopping, reopen_log: Callable[[], None]) -> None:
        self._servers = servers
        self._stopping = stopping
        self._reopen_log = reopen_log

    def serve(self) -> None:
        """Let them serve until they are told to stop.

        :raises BaseException: what a ``serve_forever`` raises.
        :raises RuntimeError: one returned although nobody told it to.
        """
        InheritedSocket.bell = bell = Bell()
        if self._stopping.has_begun:  # before there was a bell
            bell.ring()
        signal.signal(signal.SIGUSR1, self._reopen)
        others = [threading.Thread(target=server.serve_forever, daemon=True) for server in self._servers[1:]]
        for thread in others:
            thread.start()
        self._servers[0].serve_forever()
        for thread in others:
            thread.join()
        InheritedSocket.bell = None
        if not self._stopping.has_begun:
            raise RuntimeError("serve_forever returned although nobody told the server to stop")

    def _reopen(self, signum: int, frame: FrameType | None) -> None:
        self._reopen_log()
