"""What was told, as a record and as fields of the log line: whom it is about, as far as the book knew."""

import logging

import pytest

from prefork.pool.events import (
    ChildrenLeft,
    ChildrenSeen,
    Event,
    GenerationSettled,
    MoldStarted,
    PauseAsked,
    RecycleAsked,
    WorkerBorn,
    WorkerExited,
    WorkerOrdered,
)
from prefork.pool.learn import learn
from prefork.pool.orders import Cause
from prefork.report import log, told
from tests.pool.simulation import service
from tests.pool.test_rules import after, loaded, serving

ORDERED = WorkerOrdered(at=1, slot=3, order=3, generation=1, cause=Cause.FRESH)


@pytest.mark.parametrize(
    ("before", "event", "kind", "fields"),
    [
        ((ORDERED,), WorkerBorn(at=2, slot=3, order=3, pid=7), "worker-born", (3, 7, 1)),
        ((), WorkerExited(at=2, slot=2, order=2, how="was killed by SIGKILL"), "worker-exited", (2, 102, 1)),
        ((), MoldStarted(at=2, generation=2, pid=9), "mold-started", (None, 9, 2)),
        ((ChildrenLeft(at=2, pid=8),), ChildrenSeen(at=2, pid=8), "children-seen", (None, 8, None)),
        ((), RecycleAsked(at=2, workers=((1, 1),)), "recycle-asked", (None, None, None)),
        ((), PauseAsked(at=2), "pause-asked", (None, None, None)),
    ],
)
def test_an_event_names_whom_it_is_about(
    before: tuple[Event, ...],
    event: Event,
    kind: str,
    fields: tuple[int | None, int | None, int | None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The record and the log line alike; what is not known is no field of the line."""
    pool = after(serving(2), *before)
    with caplog.at_level(logging.DEBUG, "prefork.master"):
        found = log.tell(pool, event, learn(pool, event))
    assert found is not None
    slot, process, generation = fields
    assert (found.event, found.service) == (kind, "echo")
    assert (found.slot, found.pid, found.generation) == (slot, process, generation)
    (line,) = caplog.records
    assert line.getMessage() == f"echo: {found.text}"
    assert found.level == line.levelname.lower()
    known = {"event": kind, "service": "echo", "slot": slot, "worker_pid": process, "generation": generation}
    assert {name: getattr(line, name, None) for name in known} == known
    assert all(hasattr(line, name) is (value is not None) for name, value in known.items())


def test_what_changes_nothing_is_not_told() -> None:
    """News of a worker long gone, for example."""
    pool = serving(1)
    event = WorkerExited(at=2, slot=1, order=7, how="exited")
    assert log.tell(pool, event, learn(pool, event)) is None


def test_what_concerns_the_whole_instance_names_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "prefork.master"):
        found = log.say(logging.INFO, "stopped", "stopped, exit 0 %s")
    assert (found.event, found.service, found.slot, found.text) == ("stopped", "", None, "stopped, exit 0 %s")
    (line,) = caplog.records
    assert line.getMessage() == found.text
    assert not hasattr(line, "service")


def test_a_generation_is_told_with_its_mold() -> None:
    pool = after(service(0), loaded(1, at=0))
    event = GenerationSettled(at=1, generation=1)
    assert told.about(pool, event, learn(pool, event)) == told.About(pid=pool.generations[1].pid, generation=1)
