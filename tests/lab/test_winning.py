"""Who is better, and when that may be said."""

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.lab.columns import rows
from prefork.lab.findings import findings, verdict
from prefork.lab.winning import Ratio, contenders, cpu, prices, ratio, standing
from tests.lab.comparisons import comparison, result, usual
from tests.long import histories

ROUGH = (900.0, 1100.0, 1000.0, 950.0, 1050.0)


def test_a_ratio_is_taken_within_rounds() -> None:
    """What disturbs both in a round does not disturb it: rounds differ by half, the ratio by nothing."""
    rates = [1000.0, 500.0, 800.0, 1000.0, 600.0]
    found = ratio(result("prefork", 4, rates=[1.2 * rate for rate in rates]), result("thread", rates=rates))
    assert found is not None
    assert [round(value, 9) for value in found] == [1.2, 1.2, 1.2, 5]


def test_the_interval_holds_the_ratio() -> None:
    """With noise it is as wide as the rounds differ, and the same each time."""
    one, other = result("prefork", 4, rates=ROUGH), result("thread", rates=ROUGH[::-1])
    found = ratio(one, other)
    assert found == ratio(one, other)
    assert found is not None
    assert min(a / b for a, b in zip(ROUGH, ROUGH[::-1], strict=True)) <= found.low <= found.median <= found.high
    assert found.is_draw


def test_a_round_without_an_answer_is_no_pair() -> None:
    """And where no round has both there is no ratio."""
    assert ratio(result("sync", rates=[0, 0, 0]), result("thread")) is None
    found = ratio(result("sync", rates=[0, 1000, 1000]), result("thread", rates=[900, 1000, 0]))
    assert found is not None
    assert found.pairs == 1


@pytest.mark.parametrize("rounds", range(5, 40))
def test_an_interval_holds_the_truth_as_often_as_is_said(rounds: int) -> None:
    """The median lies outside it where as many rounds as it leaves out, or fewer, are on one side of the median."""
    found = ratio(result("prefork", 4, rates=range(100, 100 + rounds)), result("thread", rates=[1.0] * rounds))
    assert found is not None
    left_out = round(found.low) - 100
    assert left_out == 99 + rounds - round(found.high)
    missed = 2 * sum(comb(rounds, k) for k in range(left_out + 1)) / 2**rounds
    assert missed <= 1 / 16
    tighter = missed + 2 * comb(rounds, left_out + 1) / 2**rounds
    assert tighter > 1 / 16


@histories(100)
@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=9), st.lists(st.floats(1, 1e6), min_size=1, max_size=9))
def test_an_interval_is_in_order_and_within_what_was_seen(ones: list[float], others: list[float]) -> None:
    """Whatever the rounds were."""
    found = ratio(result("prefork", 4, rates=ones), result("thread", rates=others))
    seen = [a / b for a, b in zip(ones, others, strict=False)]
    assert found is not None
    assert min(seen) <= found.low <= found.median <= found.high <= max(seen)


def test_who_leads_by_less_than_the_margin_does_not_lead() -> None:
    """The best of many leads by a little, by chance alone."""
    assert Ratio(1.02, 1.01, 1.03, 5).is_draw
    assert not Ratio(1.04, 1.03, 1.05, 5).is_draw
    assert not Ratio(0.9, 0.85, 0.97, 5).is_draw


def test_the_best_leads_over_the_best_of_another_line() -> None:
    """Its own line with other workers is not the next, but may be level."""
    cells = [result("prefork", 4, rates=[3000.0] * 5), result("prefork", 8, rates=[2990.0] * 5)]
    cells += [result("thread", rates=[1500.0] * 5), result("sync", rates=[900.0] * 5)]
    found = standing(cells)
    assert found is not None
    assert (found.best.cell.workers, found.next) == (4, cells[2])
    assert [one.cell.workers for one in found.level] == [8]
    assert found.lead is not None
    assert found.lead.median == 2
    assert not found.is_draw


def test_a_line_that_is_as_good_makes_a_draw_although_another_comes_before_it() -> None:
    """The next by its median is behind in every round; the third differs so much that it may be ahead."""
    cells = [result("prefork", 4, rates=[3000.0] * 5), result("thread", rates=[2900.0, 2890.0, 2905.0, 2895.0, 2900.0])]
    cells += [result("fork", rates=[2000.0, 3500.0, 2500.0, 3600.0, 2800.0])]
    found = standing(cells)
    assert found is not None
    assert found.next == cells[1]
    assert found.lead is not None
    assert not found.lead.is_draw
    assert found.level == [cells[2]]
    assert found.is_draw
    assert verdict(found) == "prefork and fork answer as much within the noise, 3000/s"


@pytest.mark.parametrize("rounds", [1, 2, 3, 4])
def test_few_rounds_cannot_tell(rounds: int) -> None:
    """However far the one is ahead, neither of another line nor of its own; and no interval is given."""
    cells = [result("prefork", 4, rates=[3000.0] * rounds), result("thread", rates=[1500.0] * 5)]
    for rivals in (cells, [cells[0], result("prefork", 2, rates=[1500.0] * 5)]):
        found = standing(rivals)
        assert found is not None
        assert not found.is_told
        assert verdict(found) == f"{rounds} round{'s' * (rounds > 1)} cannot tell who answers most"
        assert {row.mark for group in rows(comparison(rivals)) for row in group} == {""}
    assert str(ratio(cells[0], cells[1])) == "about 2.00"
    alone = standing(cells[:1])
    assert alone is not None
    assert alone.is_told
    told = f"{rounds} round{'s' * (rounds > 1)} cannot tell who answers most"
    assert findings(comparison(usual(rounds))) == [f"at {n} client{'s' * (n > 1)} {told}" for n in (1, 8, 64)]


def test_where_nothing_was_answered_nobody_is_best() -> None:
    assert standing([]) is None
    assert standing([result("sync", rates=[0.0] * 5)]) is None


def test_references_do_not_win() -> None:
    """A bare loop is no way to run a service. Modes of one process stand beside pools of each size."""
    cells = usual()
    assert {one.cell.line for one in contenders(cells, 8)} == {"sync", "thread", "fork", "prefork"}
    found = [(one.cell.line, one.cell.workers) for one in contenders(cells, 8, workers=4)]
    assert found == [("sync", 1), ("thread", 1), ("fork", 1), ("prefork", 4)]


def test_the_price_of_supervision_is_cpu_a_request_beside_the_reference() -> None:
    """Over pools of all sizes: twice as many pairs as rounds."""
    found = [(p.line, p.reference, p.clients, round(p.ratio.median, 2), p.ratio.pairs) for p in prices(usual(noise=0))]
    each = [("prefork", "bare", 1.25, 10), ("sync", "stdlib-sync", 1.02, 5)]
    assert found == [(line, other, n, times, pairs) for n in (1, 8, 64) for line, other, times, pairs in each]


def test_what_nobody_was_answered_cost_nothing_that_is_known() -> None:
    assert cpu(result("sync", rates=[0.0]).rounds[0]) is None
