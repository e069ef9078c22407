"""Hooks: what an application does in each worker before its first request and after its last, and whether it is well.

They must not know requests. Invariant: what one of them raises at the end keeps none of the others from running.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from prefork.worker.application import Application, TargetError
from prefork.worker.badge import Badge

logger = logging.getLogger("prefork.worker")


def start(application: Application, servers: Sequence[Any], badge: Badge) -> None:
    """Let the application prepare in a worker that is about to serve: the hook configured, then the servers' own.

    :raises BaseException: whatever they raise.
    """
    if application.on_start is not None:
        application.on_start(badge)
    for server in servers:
        if hasattr(server, "worker_start"):
            server.worker_start()


def examine(application: Application, badge: Badge, name: str) -> None:
    """Let the application say whether the worker, as it has been prepared, may serve: by anything but false.

    ``None`` is no objection, for a check that only raises has nothing to return.

    :param name: of the check, as it was configured.
    :raises TargetError: it may not.
    :raises BaseException: whatever the check raises.
    """
    if application.health is None:
        return
    answer = application.health(badge)
    if answer is not None and not answer:
        raise TargetError(f"health {name!r} says {answer!r}, so the worker may not serve; let it raise to say why")


def stop(application: Application, servers: Sequence[Any], badge: Badge) -> None:
    """Let it clean up after the worker's last request, in the opposite order. Its errors are logged."""
    calls: list[Callable[[], object]] = []
    for server in reversed(servers):
        calls += [server.worker_stop] if hasattr(server, "worker_stop") else []
        calls += [server.server_close] if hasattr(server, "server_close") else []
    on_stop = application.on_stop
    calls += [] if on_stop is None else [lambda: on_stop(badge)]
    for call in calls:
        try:
            call()
        except Exception:
            logger.exception("cleaning up failed; the worker leaves without it")
