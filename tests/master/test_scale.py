"""What the scale makes of weights; time, and what weighing takes of it, are given."""

import logging

import pytest

from prefork.master.meter import LOOK
from prefork.master.scale import SHARE, WEIGHED, Scale


class Weights:
    """What processes weigh, by decree: a hundred bytes of their own and as many shared ones.

    :ivar asked: the pids that were weighed, in order.
    """

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.gone: set[int] = set()
        self.foreign: set[int] = set()
        self.size = 100
        self.takes = 0.0  # seconds
        self.clock = 0.0

    def weigh(self, pid: int) -> dict[str, int] | None:
        self.asked.append(pid)
        self.clock += self.takes
        if pid in self.foreign:
            raise PermissionError(f"process {pid} may not be read")
        return None if pid in self.gone else {"uss": self.size, "pss": 2 * self.size}


@pytest.fixture
def weights() -> Weights:
    return Weights()


@pytest.fixture
def scale(weights: Weights) -> Scale:
    return Scale(weights.weigh, clock=lambda: weights.clock)


def test_the_last_samples_are_kept_of_both_measures(scale: Scale, weights: Weights) -> None:
    """As many as anybody asks for, the newest last; and when the last was taken."""
    assert scale.samples(1, "uss") == ()
    for look in range(4):
        weights.size = 100 + look
        scale.look({1: look}, [], now=look * LOOK)
    assert scale.samples(1, "uss") == (101, 102, 103)
    assert scale.samples(1, "pss") == (202, 204, 206)
    assert scale.weighed_at(1) == 3 * LOOK


def test_who_has_done_nothing_since_is_not_weighed_again(scale: Scale, weights: Weights) -> None:
    """An idle service is left alone; who is busy may grow meanwhile, and a mold as it loses those it shares with."""
    scale.look({1: 7, 2: None}, [50], now=0.0)
    assert sorted(weights.asked) == [1, 2, 50]
    scale.look({1: 7, 2: None}, [50], now=1.0)
    assert weights.asked[3:] == [2]
    scale.look({1: 7, 2: 3}, [50], now=2.0)
    assert weights.asked[4:] == [2], "what it weighs at rest"
    scale.look({1: 7, 2: 3}, [50], now=3.0)
    assert weights.asked[5:] == []
    scale.look({1: 8}, [50], now=4.0)
    assert weights.asked[5:] == [1, 50]


def test_a_few_are_weighed_a_look_the_oldest_figures_first(scale: Scale, weights: Weights) -> None:
    """However many decisions are made between two looks."""
    busy = dict.fromkeys(range(1, 21))
    scale.look(busy, [], now=0.0)
    scale.look(busy, [], now=LOOK / 2)
    assert weights.asked == list(range(1, WEIGHED + 1))
    scale.look(busy, [], now=LOOK)
    scale.look(busy, [], now=2 * LOOK)
    assert sorted(weights.asked[:20]) == list(range(1, 21))
    assert weights.asked[20:] == [1, 2, 3, 4]


def test_heavy_processes_take_no_more_of_the_masters_time(scale: Scale, weights: Weights) -> None:
    """One at a time, and a rest that is fifty times as long."""
    weights.takes = 0.01
    scale.look({1: None, 2: None}, [], now=0.0)
    assert weights.asked == [1]
    scale.look({1: None, 2: None}, [], now=0.9 * 0.01 / SHARE)
    assert weights.asked == [1]
    scale.look({1: None, 2: None}, [], now=0.01 / SHARE)
    assert weights.asked == [1, 2]


def test_figures_of_the_gone_are_forgotten(scale: Scale, weights: Weights) -> None:
    """Nobody who gets that pid next inherits them, and who died just now has none."""
    weights.gone = {2}
    scale.look({1: 0, 2: 0}, [], now=0.0)
    assert (scale.samples(1, "uss"), scale.samples(2, "uss")) == ((100,), ())
    scale.look({2: 0}, [], now=1.0)
    assert scale.samples(1, "uss") == ()


def test_who_may_not_be_read_is_told_of_once(scale: Scale, weights: Weights, caplog: pytest.LogCaptureFixture) -> None:
    """A limit that does not hold must not look like one that does."""
    weights.foreign = {1, 2}
    with caplog.at_level(logging.WARNING, "prefork.master"):
        scale.look({1: None, 2: None}, [], now=0.0)
        scale.look({1: None, 2: None}, [], now=0.1)
        scale.look({1: None, 2: None}, [], now=1.0)
    assert [record.getMessage() for record in caplog.records] == [
        "limits of memory do not hold, for a process 1 may not be read;"
        " run the master with CAP_SYS_PTRACE, or let its workers keep its user"
    ]
    assert weights.asked == [1, 2, 1, 2]


def test_a_budget_has_room_for_so_many_workers_beside_the_molds(scale: Scale) -> None:
    """Of the weight they have now, shared pages counted once."""
    scale.look({1: 0, 2: 0}, [50], now=0.0)
    assert scale.affordable(2000, [1, 2], [50]) == 9


def test_one_worker_is_always_affordable(scale: Scale) -> None:
    """A budget bounds growth; it never leaves clients without anybody."""
    scale.look({1: 0}, [50], now=0.0)
    assert scale.affordable(10, [1], [50]) == 1


def test_the_first_worker_is_weighed_at_once(scale: Scale) -> None:
    """However soon after the mold: a budget that waits for a figure bounds nothing."""
    scale.look({}, [50], now=0.0)
    assert scale.affordable(2000, [], [50]) is None
    scale.look({1: 0}, [50], now=0.01)
    assert scale.affordable(2000, [1], [50]) == 9


def test_nothing_is_known_of_workers_that_cannot_be_read(scale: Scale, weights: Weights) -> None:
    """They are other users', or gone."""
    weights.foreign = {999}
    scale.look({999: 0}, [50], now=0.0)
    assert scale.affordable(1000, [999], [50]) is None
