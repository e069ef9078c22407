"""The life of the admin process: ``python -m prefork.admin BRIEF``, as the master starts it, by exec.

It has nothing to finish: it is killed when its instance ends, and ends by itself when its master is gone.
Invariant: it may only look: of the master it holds a listener, and two connections that refuse anything else.
Read next: ``server.py``, what it does; ``prefork/master/admin.py``, the other side.
"""

import contextlib
import os
import signal
import socket
import sys

from prefork.admin.server import Server
from prefork.admin.watcher import Watcher
from prefork.control import brief
from prefork.control.client import Connection
from prefork.system import lifeline, privileges, titles
from prefork.system.logline import Who
from prefork.system.logs import set_up

A_DAY = 86400.0  # seconds that the master may need for an answer: whoever wants it waits as long as he likes


def main() -> None:
    told = brief.read(sys.argv[1])
    reader = lifeline.arm(told.lifeline)  # by default SIGIO ends a process, which is what is wanted
    if lifeline.is_cut(reader):
        return
    titles.set_title(f"admin {told.instance}")
    log = set_up(told.logs, Who("admin", told.instance))
    signal.signal(signal.SIGUSR1, lambda signum, frame: log.reopen())
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # an old kernel; it starts no program anyway
        privileges.gain_no_more()
    asks, hears = (Connection(socket.socket(fileno=fd), None, told.instance, A_DAY) for fd in (told.asks, told.hears))
    watcher = Watcher(asks, hears, leave=lambda: os._exit(1))
    server = Server(socket.socket(fileno=told.listener), watcher)
    watcher.start()
    server.serve_forever()


if __name__ == "__main__":
    main()
