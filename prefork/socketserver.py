"""The standard library's ``socketserver``, by us: ``import prefork.socketserver as socketserver``.

Every name of the original, with the same hooks, arguments and order of calls; usable alone, without a master. The
Preforking… names bring the master with them, when they are first used.
Invariant: ``issubclass(ours, original)`` holds for each class of the running version's module.
Read next: ``docs/socketserver.md``, what is better than in the original and what differs; ``servers/base.py``.
"""

from typing import TYPE_CHECKING, Any

from prefork.errors import RequestTimeout
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
    "RequestTimeout",
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
if TYPE_CHECKING:
    from prefork.preforking import (
        PreforkingMixIn,
        PreforkingTCPServer,
        PreforkingUDPServer,
        PreforkingUnixDatagramServer,
        PreforkingUnixStreamServer,
    )

    __all__ += [
        "PreforkingMixIn",
        "PreforkingTCPServer",
        "PreforkingUDPServer",
        "PreforkingUnixDatagramServer",
        "PreforkingUnixStreamServer",
    ]

# not in __all__ when it runs, for an import of everything would bring the master
_ON_FIRST_USE = (
    "PreforkingMixIn",
    "PreforkingTCPServer",
    "PreforkingUDPServer",
    "PreforkingUnixDatagramServer",
    "PreforkingUnixStreamServer",
)


def __getattr__(name: str) -> Any:
    if name in _ON_FIRST_USE:
        from prefork import preforking

        return getattr(preforking, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})
