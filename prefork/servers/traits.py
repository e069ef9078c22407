"""What a server is by its class: what somebody overrode, and where it handles its requests.

It must not know how servers are made or run.
Invariant: a class and its instance without attributes of its own get the same answers.
"""

import socketserver
from typing import Any, Literal

_ORIGINS = ("socketserver", "prefork.socketserver", "prefork.servers")
_MASTERS = "prefork.preforking"  # what it overrides is for the master: a worker asks what stands behind it


def overrides(server: Any, name: str) -> bool:
    """Whether a server, or a server class, has ``name`` from neither the standard library nor us."""
    if not isinstance(server, type):
        if name in getattr(server, "__dict__", ()):
            return True
        server = type(server)
    for owner in server.__mro__:
        if name in vars(owner) and owner.__module__ != _MASTERS:
            return not f"{owner.__module__}.".startswith(tuple(f"{origin}." for origin in _ORIGINS))
    return False


def runs_its_own_loop(server: Any) -> bool:
    """Whether nobody but its own ``serve_forever`` knows how it is served."""
    return overrides(server, "serve_forever")


def concurrency_of(server: Any) -> Literal["sync", "thread", "fork"]:
    """How a server, or a server class, handles several requests."""
    kind = server if isinstance(server, type) else type(server)
    if issubclass(kind, socketserver.ThreadingMixIn):
        return "thread"
    # the standard library has it only where there is fork(2)
    return "fork" if issubclass(kind, socketserver.ForkingMixIn) else "sync"
