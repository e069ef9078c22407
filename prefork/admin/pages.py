"""The pages: what each path answers. They must not know connections.

Invariant: whatever the master does, a page is there within the watcher's patience.
Read next: ``server.py``, who asks; ``watcher.py``, who knows.
"""

import logging
from collections.abc import Callable
from http import HTTPStatus
from importlib import resources
from typing import NamedTuple

from prefork.admin.health import why_not_ready
from prefork.admin.watcher import SilentError, Watcher
from prefork.control.report import Report
from prefork.system import memorylimit

logger = logging.getLogger("prefork.admin")

PLAIN, JSON, HTML = "text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"
NO_METRICS = "metrics need the package prometheus-client; install prefork[metrics], and the admin process finds it anew"


class Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    kind: str = PLAIN


def say(status: HTTPStatus, text: str) -> Answer:
    return Answer(status, text.encode() + b"\n")


class Pages:
    """By path; ``/feed`` is none of them, for it does not end."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._live_page = resources.files(__package__).joinpath("page.html").read_bytes()
        self._metrics = _find_metrics()
        self.by_path: dict[str, Callable[[], Answer]] = {
            "/": self._live,
            "/status": self._status,
            "/metrics": self._tell_metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }

    def answer(self, path: str) -> Answer:
        page = self.by_path.get(path)
        if page is None:
            return say(HTTPStatus.NOT_FOUND, f"there is {', '.join([*self.by_path, '/feed'])}")
        try:
            return page()
        except SilentError as error:
            return say(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    def _live(self) -> Answer:
        return Answer(HTTPStatus.OK, self._live_page, HTML)

    def _status(self) -> Answer:
        return Answer(HTTPStatus.OK, self._watcher.look().plain + b"\n", JSON)

    def _healthz(self) -> Answer:
        self._watcher.look()
        return say(HTTPStatus.OK, "the master answers")

    def _readyz(self) -> Answer:
        reasons = why_not_ready(self._watcher.look().report.snapshot)
        if reasons:
            return say(HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(reasons))
        return say(HTTPStatus.OK, "ready")

    def _tell_metrics(self) -> Answer:
        if self._metrics is None:
            return say(HTTPStatus.NOT_IMPLEMENTED, NO_METRICS)
        try:
            report: Report | None = self._watcher.look().weighed
        except SilentError:
            report = None
        return self._metrics(report)


def _find_metrics() -> Callable[[Report | None], Answer] | None:
    """``None`` where the package for them is missing, which is said once."""
    try:
        from prefork.admin import metrics
    except ImportError as error:
        logger.warning("/metrics: %s (%s)", NO_METRICS, error)
        return None
    limit = memorylimit.usable  # of this process, whose group is that of the whole instance
    return lambda report: Answer(HTTPStatus.OK, metrics.expose(report, limit().amount), metrics.CONTENT_TYPE)
