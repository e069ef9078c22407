"""One line on an instance: true as long as it stands, whatever happened; one case a row."""

import pytest
from msgspec.structs import replace

from prefork.pool.events import GenerationAbandoned, PauseAsked, ReloadAsked, ReloadRefused, ServiceFailed, StopAsked
from prefork.pool.records import Phase, Pool
from prefork.report.summary import LONGEST_REASON, Use, summarize
from tests.pool.simulation import service
from tests.pool.test_rules import after, loaded, ready, serving

ERROR = "ModuleNotFoundError: No module named 'jsn'"
BROKEN = f"Traceback (most recent call last):\n  File …\n{ERROR}\n"


@pytest.mark.parametrize(
    ("pool", "trouble", "use", "line"),
    [
        (service(2), "", None, "starting: 0 of 2 workers ready"),
        (after(service(2), loaded(1, at=0), ready(1, 1, at=0)), "", None, "starting: 1 of 2 workers ready"),
        (service(2), "it cannot fork", None, "starting, it cannot fork: 0 of 2 workers ready"),
        (serving(2), "", None, "2 of 2 workers ready"),
        (serving(2), "", Use(busy=1, queued=7), "2 of 2 workers ready, 1 busy, 7 queued"),
        (
            serving(2),
            "its workers die",
            Use(busy=0, queued=0),
            "degraded, its workers die: 2 of 2 workers ready, 0 busy, 0 queued",
        ),
        (after(serving(2), PauseAsked(at=1)), "", None, "paused: 2 of 2 workers ready"),
        (
            after(serving(2), ReloadRefused(at=1, why="[service.x] workres: unknown")),
            "",
            None,
            "2 of 2 workers ready; a reload was refused: [service.x] workres: unknown",
        ),
        (after(serving(2), StopAsked(at=1, phase=Phase.DRAINING)), "", Use(2, 3), "stopping, 2 workers left"),
        (after(serving(1), StopAsked(at=1, phase=Phase.NOW)), "", None, "stopping, 1 worker left"),
        (
            after(serving(2), ServiceFailed(at=1, why=BROKEN)),
            "",
            None,
            "given up: ModuleNotFoundError: No module named 'jsn'",
        ),
    ],
)
def test_one_line_says_how_a_service_is(pool: Pool, trouble: str, use: Use | None, line: str) -> None:
    """What changes with each request is told only where somebody has looked."""
    assert summarize([(pool, trouble, use)]) == line


def test_a_generation_that_comes_and_one_that_was_given_up_are_told() -> None:
    """With the error of its traceback alone."""
    pool = serving(2)
    coming = after(pool, ReloadAsked(at=1, configured=pool.wanted.configured), loaded(2, at=2))
    assert summarize([(coming, "", None)]) == "generation 2 is coming: 2 of 2 workers ready"
    given_up = after(coming, GenerationAbandoned(at=3, generation=2, why=BROKEN))
    assert summarize([(given_up, "", None)]) == (f"2 of 2 workers ready; generation 2 was given up: {ERROR}")


def test_who_is_replaced_counts_once() -> None:
    """A successor comes before its predecessor goes; nobody wants to read 3 of 2."""
    assert summarize([(after(serving(2), ready(3, 3, at=1)), "", None)]) == "2 of 2 workers ready"


def test_several_services_are_named() -> None:
    """Each by its name."""
    shop, echo = replace(serving(2), name="shop"), replace(serving(1), name="echo")
    assert summarize([(shop, "", None), (echo, "", Use(1, 0))]) == (
        "shop: 2 of 2 workers ready; echo: 1 of 1 workers ready, 1 busy, 0 queued"
    )


def test_a_long_reason_is_cut() -> None:
    """The line stays one that fits a screen."""
    (line,) = summarize([(serving(1), "x" * 1000, None)]).splitlines()
    assert len(line) < LONGEST_REASON + 60
