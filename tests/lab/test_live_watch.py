"""Who looks at an instance: for as long as it is told, and never over two instances at once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from prefork.control.client import ConnectionEnded, Target
from prefork.control.report import Report
from prefork.errors import CommandError, NoInstanceError
from prefork.lab import live_watch
from prefork.lab.live_watch import Watched
from tests import snapshots
from tests.lab import made_up_service

TARGET = Target("shop", None, None, 10.0)
GONE = ConnectionEnded("shop: the instance ended before it had answered")


def told(uptime: float, pid: int = 7, name: str = "echo", requests: int = 5) -> Report:
    return made_up_service.report(snapshots.service(name=name, requests=requests), [], uptime, pid)


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Report | Exception]], list[float]]:
    """An instance that tells one thing after the other, on a clock of its own; the naps between are handed back."""

    def tell(answers: Sequence[Report | Exception]) -> list[float]:
        left: Iterator[Report | Exception] = iter(answers)
        naps: list[float] = []

        def answer(connection: Any) -> Report:
            one = next(left)
            if isinstance(one, Exception):
                raise one
            return one

        class Census:
            def look(self, pids: Any, seconds: float) -> dict[int, Any]:
                return {}

        @contextmanager
        def connect(place: Any, timeout: float) -> Iterator[None]:
            yield

        monkeypatch.setattr(live_watch, "find", lambda name, control: None)
        monkeypatch.setattr(live_watch, "connect", connect)
        monkeypatch.setattr(live_watch, "ask_status", answer)
        monkeypatch.setattr(live_watch, "Census", Census)
        monkeypatch.setattr(live_watch, "time", SimpleNamespace(monotonic=lambda: sum(naps), sleep=naps.append))
        return naps

    return tell


def watch(seconds: float, stop: Callable[[], bool] = lambda: False) -> Watched:
    return live_watch.watch(TARGET, seconds, lambda part: None, stop)


def test_it_looks_once_a_second_until_the_window_is_over(instance: Any) -> None:
    """And once more often only where there would be few looks."""
    naps = instance([told(float(at)) for at in range(100)])
    watched = watch(60)
    assert len(watched.looks) == 61
    assert set(naps) == {1.0}
    assert watched.notes == []


def test_a_restart_begins_the_window_anew(instance: Any) -> None:
    """Its looks are of the new instance alone, for a whole window, and it says so."""
    before, after = [told(float(at)) for at in range(5)], [told(float(at), pid=8) for at in range(100)]
    instance([*before, GONE, NoInstanceError("none"), *after])
    watched = watch(20)
    assert {look.report.snapshot.pid for look in watched.looks} == {8}
    assert watched.looks[-1].at - watched.looks[0].at == pytest.approx(20)
    assert watched.notes == ["the instance began anew, and so did the window"]


def test_a_service_that_comes_begins_the_window_anew(instance: Any) -> None:
    """All services are in every look."""
    instance([told(1.0), told(2.0), *(told(float(at), name="shop") for at in range(3, 60))])
    watched = watch(20)
    assert all(look.report.workers.keys() == {"shop"} for look in watched.looks)
    assert watched.notes == ["services came or went, so the window began anew"]


def test_who_has_enough_gets_what_there_is(instance: Any) -> None:
    """Two looks at least."""
    instance([told(float(at)) for at in range(100)])
    assert len(watch(60, lambda: True).looks) == 2


def test_an_instance_that_is_gone_for_good_is_given_up(instance: Any) -> None:
    """At once where it never was."""
    instance([NoInstanceError("none")])
    with pytest.raises(NoInstanceError):
        watch(60)
    instance([told(1.0), *[GONE] * 10])
    with pytest.raises(CommandError, match="ended or began anew 5 times"):
        watch(60)
