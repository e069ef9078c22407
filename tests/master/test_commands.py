"""Which news is an occasion for a command; a table."""

import pytest
from msgspec.structs import replace

from prefork.master.commands import Occasion, occasion
from prefork.pool import events
from prefork.pool.records import Generation, Pool, Stage, Wanted, fixed

FIRST = Pool("echo", Wanted(1, fixed(1)), coming=1, last_generation=1)
SERVING = Pool("echo", Wanted(1, fixed(1)), serving=3, coming=4, last_generation=4)
REFORKED = replace(SERVING, generations={4: Generation(4, Stage.LOADED, 0.0, is_reforked=True)})
KEPT = Pool(
    "echo",
    Wanted(1, fixed(1)),
    serving=3,
    coming=4,
    last_generation=4,
    generations={3: Generation(3, Stage.LOADED, 0)},
)
FAILED = Pool("echo", Wanted(1, fixed(1)), failed="no such module")


@pytest.mark.parametrize(
    ("before", "event", "expected"),
    [
        (FIRST, events.GenerationSettled(at=0, generation=1), Occasion("ready", 1)),
        (SERVING, events.GenerationSettled(at=0, generation=4), Occasion("reload", 4, "serves")),
        (
            SERVING,
            events.GenerationAbandoned(at=0, generation=4, why="it hangs"),
            Occasion("reload", 4, "abandoned", "it hangs"),
        ),
        (KEPT, events.GenerationSettled(at=0, generation=4, probation=30), None),
        (SERVING, events.GenerationSettled(at=0, generation=4, probation=30), Occasion("reload", 4, "serves")),
        (SERVING, events.ProbationEnded(at=0, generation=4), Occasion("reload", 4, "serves")),
        (SERVING, events.ProbationEnded(at=0, generation=4, why="it dies"), Occasion("reload", 4, "serves", "it dies")),
        (
            SERVING,
            events.GenerationRolledBack(at=0, generation=4, back_to=3, why="it dies"),
            Occasion("reload", 4, "abandoned", "it dies"),
        ),
        (REFORKED, events.GenerationSettled(at=0, generation=4), None),
        (SERVING, events.ReloadRefused(at=0, why="no such key"), Occasion("reload", 3, "refused", "no such key")),
        (FIRST, events.ServiceFailed(at=0, why="it dies"), Occasion("failed", 1, why="it dies")),
        (FAILED, events.ServiceFailed(at=0, why="it dies"), None),
        (FIRST, events.GenerationAbandoned(at=0, generation=1, why="it hangs"), None),
        (SERVING, events.WorkerReady(at=0, slot=1, order=1), None),
        (SERVING, events.MoldLoaded(at=0, generation=4), None),
    ],
)
def test_an_occasion_is_read_from_the_book_and_the_news(
    before: Pool, event: events.Event, expected: Occasion | None
) -> None:
    """Ready once in a life, a reload however it ends, a failure once."""
    assert occasion(before, event) == expected
