"""What is doubted of a load, and what is not: made-up results, no service."""

import numpy as np
import pytest

from prefork.lab.connection import KIND_OF
from prefork.lab.load import GeneratorUse, Latencies, Load, Result
from prefork.lab.load_judging import REMEDIES, RULES, Surroundings, doubts_of, longest_stall
from prefork.lab.samples import KINDS, ROW, Samples


def samples(latency: float = 0.001, count: int = 20_000, every: float = 0.001) -> Samples:
    rows = np.zeros(count, ROW)
    rows["intended"] = rows["started"] = np.arange(count) * every
    rows["ended"] = rows["intended"] + latency
    return Samples(rows, list(KINDS))


def result(**facts: object) -> Result:
    """Of a load without blemish, but for what is given."""
    latency = Latencies(0.001, 0.001, 0.001, 0.0015, 0.002, 0.003)
    known = {
        "load": Load(url="tcp://127.0.0.1:9"),
        "seconds": 20.0,
        "requests": 20_000,
        "errors": {},
        "latency": latency,
        "service": latency,
        "histogram": "",
        "bytes_sent": 0,
        "bytes_received": 0,
        "connections": 0,
        "generators": [GeneratorUse(8.0, 20.0, 20_000)],
        "doubts": [],
    }
    return Result(**{**known, **facts})  # type: ignore[arg-type]


OPEN = Load(url="tcp://127.0.0.1:9", rate=1000.0, clients=100)
HERE = Surroundings(busy=0.99, cpus=2, is_here=True)
DOUBTFUL = {
    "errors": (result(errors={"refused": 20, "tls": 1}), Surroundings(), "21 of 20021 requests failed (0.1%), most "),
    "behind": (result(load=OPEN, seconds=50.0), Surroundings(was_behind=True), "offered 1000/s and answered 400/s"),
    "generator-bound": (
        result(generators=[GeneratorUse(17.0, 20.0, 20_000)]),
        Surroundings(cpus=2),
        "a generator used 85% of its CPU",
    ),
    "shared-cpus": (result(), HERE, "generator and service shared 2 CPUs, 99% busy"),
    "late": (
        result(load=OPEN, generators=[GeneratorUse(8.0, 20.0, 20_000, 0.0003, 0.0004)]),
        Surroundings(),
        "300µs of the 1ms at the median: so much is not the service's; ",
    ),
    "dropped": (result(), Surroundings(dropped=3), "the server closed 3 kept connections"),
    "too-short": (result(requests=900, seconds=1.0), Surroundings(), "900 samples are too few for p99: "),
}


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_a_doubt(kind: str) -> None:
    """It is the only one, in one line, and says what was seen."""
    measured, around, text = DOUBTFUL[kind]
    (doubt,) = doubts_of(measured, samples(), around)
    assert doubt.kind == kind
    assert text in doubt.text
    assert "\n" not in doubt.text
    assert not doubt.text.endswith(".")


def test_nothing_to_doubt() -> None:
    """Neither in an open loop nor in a closed one, nor on a machine that is busy with other things."""
    assert doubts_of(result(), samples(), Surroundings()) == []
    assert doubts_of(result(load=OPEN), samples(), Surroundings()) == []
    assert doubts_of(result(), samples(), Surroundings(busy=0.99, is_here=False)) == []


def test_little_was_measured() -> None:
    """Advice by what was asked for: longer, or more."""
    short = result(requests=500, seconds=2.0)
    assert "by --duration 4s" in doubts_of(short, samples(), Surroundings())[0].text
    by_count = result(requests=5000, load=Load(url="tcp://127.0.0.1:9", requests=5000))
    assert "p99.9: " in doubts_of(by_count, samples(), Surroundings())[0].text
    assert "by --requests 10000" in doubts_of(by_count, samples(), Surroundings())[0].text


def test_a_stall_is_a_time_in_which_something_waited() -> None:
    """Silence because nobody asked is none."""
    raw = samples(count=11, every=0.1, latency=0.001)
    assert longest_stall(raw)[1] == pytest.approx(0.001)
    raw.rows["ended"][4:7] = 0.9001  # three that were due at 0.4, 0.5 and 0.6 and over at once
    assert longest_stall(raw) == pytest.approx((0.4, 0.301))  # until the one that was due at 0.7
    raw.rows["ended"][4:9] = 0.9001
    assert longest_stall(raw) == pytest.approx((0.4, 0.5001))
    (doubt,) = [one for one in doubts_of(result(), raw, Surroundings()) if one.kind == "stall"]
    assert doubt.text.startswith("for 500ms nothing was answered although requests waited, from 0.4 s on")


def test_every_kind_has_a_remedy() -> None:
    """Of those that have a name of their own; of any other errno one is led to its text."""
    assert set(KINDS) - {"answered"} | set(KIND_OF.values()) <= set(REMEDIES)
    (doubt,) = doubts_of(result(errors={"EHOSTUNREACH": 1}), samples(), Surroundings())
    assert doubt.text.endswith("EHOSTUNREACH (1): the first error, which is told in full, says what it was")
    assert len(RULES) == len(set(RULES))


def test_a_run_without_any_answer_is_judged_too() -> None:
    """By what is left."""
    nothing = result(requests=0, latency=None, service=None, errors={"timeout": 7}, load=OPEN)
    empty = Samples(np.empty(0, ROW), list(KINDS))
    assert [doubt.kind for doubt in doubts_of(nothing, empty, Surroundings())] == ["errors"]
