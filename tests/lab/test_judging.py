"""What is doubted of a comparison: each doubt where its cause is, with its figure and its advice, and nowhere else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from prefork.lab.comparison import CellResult
from prefork.lab.doubts import Doubt
from prefork.lab.judging import doubts, far, spread
from tests.lab.comparisons import changed, measurement, result, usual
from tests.long import histories

CLEAR = [
    result("prefork", 4, rates=[3000, 3010, 2990, 3005, 2995]),
    result("thread", rates=[1500, 1502, 1498, 1501, 1499]),
]
HISTORIES = {
    "nothing to doubt": (CLEAR, []),
    "nothing measured": ([], []),
    "noise": (
        [result("prefork", 4, rates=[3000, 2000, 4000, 2500, 3500]), CLEAR[1]],
        [
            "noise: rounds differ by more than 10% of their median, quartile to quartile, with prefork with 4 "
            "workers at 8 clients (33%): quiet the machine, or raise --rounds and --duration"
        ],
    ),
    "outlier": (
        [CLEAR[0], result("thread", rates=[1500, 1502, 700, 1501, 1499])],
        [
            "outliers: far from the others: round 3 of thread at 8 clients (700/s, usual 1500/s): something else "
            "may have run; medians bear it, but look what it was, or measure again"
        ],
    ),
    "errors": (
        [CLEAR[0], replace(CLEAR[1], rounds=[measurement(1500, errors={"timeout": 2, "reset": 3})] * 5)],
        [
            "errors: 25 requests failed (15 reset, 10 timeout), most of them with thread at 8 clients: figures "
            "are of the others; try fewer --clients or a longer --timeout, or leave out the line that cannot "
            "bear them"
        ],
    ),
    "generator": (
        [replace(CLEAR[0], rounds=[measurement(3000, generator_share=0.93)] * 5), CLEAR[1]],
        [
            "generator-bound: the generator was busy with prefork with 4 workers at 8 clients (93%): the "
            "generator, not the service, may be the limit; add --processes, or believe these rates as lower "
            "bounds only"
        ],
    ),
    "once": (
        [result("prefork", 4, rates=[3000]), result("thread", rates=[1500])],
        ["rounds: each cell was measured once: chance cannot be told from a difference; give --rounds 5 or more"],
    ),
    "twice and three times": (
        [result("prefork", 4, rates=[3000, 2900]), result("thread", rates=[1500, 1510, 1490]), result("sync")],
        [
            "rounds: thread at 8 clients, prefork with 4 workers at 8 clients were measured at most 3 times: chance "
            "cannot be told from a difference; give --rounds 5 or more"
        ],
    ),
    "short": (
        [result("prefork", 4, rates=[3000] * 5, requests=9000), result("thread", rates=[1500] * 5, requests=800)],
        [
            "too-short: p99 stands on fewer than ten requests beyond it in 1 of 2 cells, the least 800 requests "
            "a round with thread at 8 clients: raise --duration, or believe p90 at most",
            "too-short: p99.9 stands on fewer than ten requests beyond it in 2 of 2 cells, the least 800 "
            "requests a round with thread at 8 clients: raise --duration, or believe p99 at most",
        ],
    ),
    "draw": (
        [CLEAR[0], result("thread", rates=[2990, 3020, 2960, 3000, 2980]), result("sync", rates=[900] * 5)],
        [
            "draw: prefork and thread differ by less than 1% at 8 clients, no more than chance may do: call it a "
            "draw, or raise --rounds"
        ],
    ),
    "of single rounds": (
        [
            replace(
                CLEAR[0], rounds=[measurement(3000, doubts=[Doubt("cut-off", "its stop cut requests off: look")])] * 5
            )
        ],
        [
            "cut-off: round 1 of prefork with 4 workers at 8 clients (and 4 more of this kind): its stop cut "
            "requests off: look"
        ],
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_what_is_doubted(name: str) -> None:
    cells, expected = HISTORIES[name]
    assert [f"{doubt.kind}: {doubt}" for doubt in doubts(cells)] == expected


def test_the_worst_are_named_and_the_others_counted() -> None:
    cells = [result("prefork", workers, rates=[3000, 2000, 4000, 2000, 3000]) for workers in range(1, 6)]
    (noise,) = doubts(cells)
    assert noise.text.count("prefork with") == 3
    assert "and 2 more" in noise.text


def test_rounds_that_grow_faster_are_told_in_most_cells_only() -> None:
    """One cell is chance, all are a cause; and which way says which."""
    slow_first = changed(usual(6, noise=0), lambda i, one: replace(one, rate=one.rate * (0.9 if i < 2 else 1)))
    slow_last = changed(usual(6, noise=0), lambda i, one: replace(one, rate=one.rate * (0.9 if i > 3 else 1)))
    assert [d.text for d in doubts(slow_first) if d.kind == "drift"] == [
        "first rounds were slower than the last, by 10%: the warm-up may be too short, raise --warm-up, or let "
        "the machine settle first"
    ]
    assert [d.text.split(":")[0] for d in doubts(slow_last) if d.kind == "drift"] == [
        "first rounds were faster than the last, by 11%"
    ]
    assert not [d for d in doubts([slow_first[0], *usual(6, noise=0)[1:]]) if d.kind == "drift"]
    assert not [d for d in doubts([*slow_first[:16], *slow_last[16:]]) if d.kind == "drift"]


def test_shared_cpus_are_told_where_they_were_all_used() -> None:
    """3000 requests of 500 µs are a CPU and a half, the generator half of one: all of two CPUs, half of four."""
    cells = [result("prefork", 4, rates=[3000] * 5, cpu_seconds=500e-6, generator_share=0.5)]
    (told,) = doubts(cells, cpus=2)
    assert told.kind == "shared-cpus"
    assert told.text.startswith("CPUs are shared: generator and service together have 2, and in 1 of 1 cells")
    assert doubts(cells, cpus=4) == doubts(cells) == []


def test_all_generators_share_the_cpus() -> None:
    """Three that need half a CPU each take one and a half."""
    cells = [result("prefork", 4, rates=[1000] * 5, cpu_seconds=500e-6, generator_share=0.5, generator_cpus=1.5)]
    assert [doubt.kind for doubt in doubts(cells, cpus=2)] == ["shared-cpus"]
    assert doubts(cells, cpus=4) == []


def test_a_machine_that_others_filled_is_told_as_the_rounds_tell_it() -> None:
    """Once: where service and generators alone filled it, that is said of all cells instead."""
    full = Doubt("shared-cpus", "generator and service shared 2 CPUs, 99% busy: send from another machine")
    quiet = [result("prefork", 4, rates=[1000] * 5, doubts=[full])]
    (told,) = doubts(quiet, cpus=2)
    assert (told.kind, told.text) == (
        "shared-cpus",
        f"round 1 of prefork with 4 workers at 8 clients (and 4 more of this kind): {full.text}",
    )
    busy = [result("prefork", 4, rates=[3000] * 5, cpu_seconds=500e-6, generator_share=0.5, doubts=[full])]
    assert [doubt.text.partition(":")[0] for doubt in doubts(busy, cpus=2)] == ["CPUs are shared"]


def test_far_is_judged_by_the_median_deviation() -> None:
    """As the source has it, and for rounds that are all alike; a little is never far."""
    assert far([2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3]) == [8, 9]
    assert far([5, 5, 5, 5, 9]) == [4]
    assert far([1000, 1000, 1000, 1000, 1010]) == []
    assert far([7, 7, 7]) == []


@histories(100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sync", "prefork", "bare", "of its own"]),
            st.sampled_from([1, 4]),
            st.sampled_from([1, 8]),
            st.lists(st.just(0.0) | st.floats(0.01, 1e6), max_size=6),
        ),
        max_size=8,
        unique_by=lambda cell: cell[:3],
    )
)
def test_whatever_was_measured_can_be_judged(cells: list[tuple[str, int, int, list[float]]]) -> None:
    """In lines of lower case, that say what to do and have no full stop."""
    results = [
        CellResult(result(line, workers, clients).cell, [measurement(rate) for rate in rates])
        for line, workers, clients, rates in cells
    ]
    for doubt in doubts(results, cpus=1):
        assert re.fullmatch(r"[^\n]+: [^\n]+[^.\n]", doubt.text)
    for one in results:
        assert spread(one) is None or (spread(one) or 0) >= 0
