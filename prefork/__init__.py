"""Run synchronous network services in production.

A master owns the listening sockets and keeps a pool of preforked workers, each running the plain synchronous
server loop: ``prefork run mymodule:Handler --bind tcp://0.0.0.0:9000``; or, in a program, ``prefork.serve(Handler,
bind="tcp://0.0.0.0:9000")``.

This file holds the version and nothing that costs a worker memory: ``serve`` arrives when it is first used.
Read next: ``docs/architecture.md``, then ``prefork/master/loop.py``, where everything meets.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefork.preforking import serve

__all__ = ["__version__", "serve"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "serve":
        from prefork.preforking import serve

        return serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
