"""By which word each end is counted: these events, then exactly these counts."""

import pytest

from prefork.pool.events import (
    Event,
    GenerationAbandoned,
    GenerationRolledBack,
    GenerationSettled,
    MoldStarted,
    ReloadRefused,
    ServiceFailed,
    WorkerExited,
    WorkerExpelled,
    WorkerKilled,
    WorkerLeft,
    WorkerRetired,
)
from prefork.pool.learn import learn
from prefork.pool.reasons import Reason
from tests.pool.simulation import service
from tests.pool.test_rules import after, loaded, ready, serving, starting


def exited(is_crash: bool = False) -> WorkerExited:
    return WorkerExited(at=9, slot=1, order=1, how="", is_crash=is_crash)


def retired(reason: Reason) -> WorkerRetired:
    return WorkerRetired(at=6, slot=1, order=1, why="…", reason=reason)


def killed(reason: Reason) -> WorkerKilled:
    return WorkerKilled(at=8, slot=1, order=1, why="…", reason=reason)


ENDS: list[tuple[str, tuple[Event, ...], bool]] = [
    ("exit", (), False),
    ("signal", (), True),
    ("surplus", (retired(Reason.SURPLUS),), False),
    ("reload", (retired(Reason.RELOAD),), True),  # it was leaving, whatever ended it
    ("left", (WorkerLeft(at=5, slot=1, order=1, why="it was sent SIGTERM"),), False),
    ("timeout", (WorkerLeft(at=5, slot=1, order=1, why="…", is_sound=True),), False),
    ("request-hard", (WorkerExpelled(at=5, slot=1, order=1, why="…", reason=Reason.REQUEST_HARD),), False),
    ("drain", (retired(Reason.AGE), killed(Reason.DRAIN)), True),
    ("memory-hard", (killed(Reason.MEMORY_HARD), retired(Reason.SURPLUS)), True),
]


@pytest.mark.parametrize(("word", "before", "is_crash"), ENDS)
def test_an_end_is_counted_by_what_was_decided_last(word: str, before: tuple[Event, ...], is_crash: bool) -> None:
    """Or by how the process ended, where nobody decided; and once, however often it is told."""
    pool = after(serving(1), *before, exited(is_crash))
    assert (pool.started, pool.ended) == (1, {word: 1})
    assert learn(pool, exited(is_crash)) == pool


def test_who_was_never_ready_has_not_started_and_ended_by_its_boot() -> None:
    """By whatever it died."""
    pool = after(service(1), loaded(1, at=0), starting(1, 1, at=1), exited(is_crash=True))
    assert (pool.started, pool.ended) == (0, {"boot": 1})
    pool = after(pool, ready(1, 2, at=10))
    assert (pool.started, pool.ended) == (1, {"boot": 1})


def test_who_was_killed_for_want_of_memory_is_counted_apart() -> None:
    """Where nobody had decided its end, and it was ready once."""
    starved = WorkerExited(at=9, slot=1, order=1, how="", is_crash=True, is_starved=True)
    assert after(serving(1), starved).ended == {"oom": 1}
    assert after(serving(1), killed(Reason.MEMORY_HARD), starved).ended == {"memory-hard": 1}
    assert after(service(1), loaded(1, at=0), starting(1, 1, at=1), starved).ended == {"boot": 1}


def test_loads_are_counted_by_how_they_ended() -> None:
    """Also the first one, and one that was refused before it had a number."""
    pool = after(serving(1), MoldStarted(at=5, generation=2, pid=2))
    assert pool.loads == {"serves": 1}
    pool = after(pool, GenerationAbandoned(at=6, generation=2, why="…"), ReloadRefused(at=6, why="…"))
    pool = after(pool, MoldStarted(at=7, generation=3, pid=3), loaded(3, at=7))
    pool = after(pool, GenerationSettled(at=8, generation=3, probation=9))
    assert pool.loads == {"serves": 2, "abandoned": 1, "refused": 1}
    pool = after(pool, GenerationRolledBack(at=9, generation=3, back_to=1, why="…"))
    assert pool.loads == {"serves": 2, "abandoned": 1, "refused": 1, "rolled-back": 1}
    assert after(service(1), loaded(1, at=0), ServiceFailed(at=1, why="…")).loads == {"abandoned": 1}
