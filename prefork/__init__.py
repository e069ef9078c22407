"""Run synchronous network services in production.

A master owns the listening sockets and keeps a pool of preforked workers, each running the plain synchronous
server loop: ``prefork run mymodule:Handler --bind tcp://0.0.0.0:9000``; or, in a program, ``prefork.serve(Handler,
bind="tcp://0.0.0.0:9000")``.

This file holds the version and nothing that costs a worker memory: the other names arrive when they are first used.
Read next: ``docs/architecture.md``, then ``prefork/master/loop.py``, where everything meets.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefork.errors import RequestTimeout
    from prefork.preforking import serve

__all__ = ["RequestTimeout", "__version__", "serve"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "serve":
        from prefork.preforking import serve

        return serve
    if name == "RequestTimeout":
        from prefork.errors import RequestTimeout

        return RequestTimeout
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
