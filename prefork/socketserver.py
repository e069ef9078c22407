"""The standard library's ``socketserver``, by us: ``import prefork.socketserver as socketserver``.

Every name of the original, with the same hooks, arguments and order of calls; usable alone, without a master.
Invariant: ``issubclass(ours, original)`` holds for each class of the running version's module.
Read next: ``docs/socketserver.md``, what is better than in the original and what differs; ``servers/base.py``.
"""

from prefork.servers.base import BaseServer
from prefork.servers.forking import (
    ForkingMixIn,
    ForkingTCPServer,
    ForkingUDPServer,
    ForkingUnixDatagramServer,
    ForkingUnixStreamServer,
)
from prefork.servers.handlers import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler
from prefork.servers.inet import TCPServer, UDPServer
from prefork.servers.threading import (
    ThreadingMixIn,
    ThreadingTCPServer,
    ThreadingUDPServer,
    ThreadingUnixDatagramServer,
    ThreadingUnixStreamServer,
)
from prefork.servers.unix import UnixDatagramServer, UnixStreamServer

__all__ = [
    "BaseRequestHandler",
    "BaseServer",
    "DatagramRequestHandler",
    "ForkingMixIn",
    "ForkingTCPServer",
    "ForkingUDPServer",
    "ForkingUnixDatagramServer",
    "ForkingUnixStreamServer",
    "StreamRequestHandler",
    "TCPServer",
    "ThreadingMixIn",
    "ThreadingTCPServer",
    "ThreadingUDPServer",
    "ThreadingUnixDatagramServer",
    "ThreadingUnixStreamServer",
    "UDPServer",
    "UnixDatagramServer",
    "UnixStreamServer",
]
