"""The user's code: found by its target, imported, and built into servers.

It must not know processes.
Invariant: what it raises says which target and what to try; the application's own errors pass with their tracebacks.
"""

import importlib
import socket
import socketserver
from collections.abc import Sequence
from typing import Any

from prefork.servers.listening import serve_on


class TargetError(Exception):
    """The target names nothing that could be served."""


def load(target: str) -> Any:
    """Import ``MODULE:NAME`` and return the request handler class of that name.

    :raises TargetError: there is no such name, or it is no request handler class.
    :raises BaseException: whatever importing the module raises.
    """
    module_name, _, name = target.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            remedy = "install it, or give its directory by pythonpath"
            raise TargetError(f"no module named {error.name!r} for target {target!r}; {remedy}") from None
        raise
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise TargetError(f"module {module_name!r} has no {name!r} for target {target!r}") from None
    if not (isinstance(found, type) and issubclass(found, socketserver.BaseRequestHandler)):
        raise TargetError(f"target {target!r} is not a request handler class, a subclass of BaseRequestHandler")
    return found


def build(handler: Any, listeners: Sequence[socket.socket]) -> list[socketserver.BaseServer]:
    """One server a listener, built in the worker, so that its address and socket mean what they say.

    In a program that serves by itself the server is there already, with its socket: it is what ``handler`` is.
    """
    if not isinstance(handler, type) and hasattr(handler, "get_request"):
        return [handler]
    return [serve_on(listener, handler) for listener in listeners]
