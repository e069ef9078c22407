"""What is doubted of a load, and what is not: made-up results, no service."""

import numpy as np
import pytest
from msgspec.structs import replace

from prefork.lab.connection import KIND_OF
from prefork.lab.load import GeneratorUse, Latencies, Load, Result
from prefork.lab.load_judging import REMEDIES, RULES, Surroundings, doubts_of, fell_behind, longest_stall
from prefork.lab.outcome import result_of
from prefork.lab.reports import Finished
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


def finished(seconds: float) -> Finished:
    """What a generator tells that began requests for so long."""
    return Finished(GeneratorUse(0.1, seconds, 1), seconds, list(KINDS), 0, 0, 0, 0, "", 0.0)


def told(load: Load, raw: Samples, seconds: float = 3.0, is_stopped: bool = False) -> Result:
    return result_of(load, raw, [finished(seconds)], is_stopped=is_stopped, busy=0.0, cpus=2, is_here=False)


OPEN = Load(url="tcp://127.0.0.1:9", rate=1000.0, clients=100)
HERE = Surroundings(busy=0.99, cpus=2, is_here=True)
DOUBTFUL = {
    "errors": (result(errors={"refused": 9, "tls": 1}), Surroundings(), "10 of 20010 requests failed (0.05%), most "),
    "behind": (result(load=OPEN, seconds=50.0), Surroundings(was_behind=True), "offered 1000/s and answered 400/s"),
    "generator-bound": (
        result(generators=[GeneratorUse(17.0, 20.0, 20_000)]),
        Surroundings(cpus=2),
        "a generator used 85% of its CPU",
    ),
    "shared-cpus": (result(), HERE, "generator and service shared 2 CPUs, 99% busy: each took from the other; "),
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


def test_percentiles_leave_out_what_failed() -> None:
    """From the first on that it may have changed; where nothing was answered there are none."""

    def said(failed: int, answered: int = 20_000) -> str:
        measured = result(requests=answered - failed, errors={"timeout": failed})
        return " ".join(one.text for one in doubts_of(measured, samples(), Surroundings()) if one.kind == "left-out")

    assert said(10) == ""
    assert said(20).startswith("p99.9 and beyond leave out the 0.1% that failed, ")
    assert said(200).startswith("p99 and beyond leave out the 1% that failed, ")
    assert said(820).startswith("p99 and beyond leave out the 4.1% that failed, ")
    assert said(15_000).startswith("p50 and beyond leave out the 75% that failed, ")


def test_nothing_to_doubt() -> None:
    """Neither in an open loop nor in a closed one, nor on a machine that is busy with other things."""
    assert doubts_of(result(), samples(), Surroundings()) == []
    assert doubts_of(result(load=OPEN), samples(), Surroundings()) == []
    assert doubts_of(result(), samples(), Surroundings(busy=0.99, is_here=False)) == []


def test_a_machine_that_is_busy_with_something_else() -> None:
    """Is not laid at the generator's door when it had hardly any of it."""
    idle = result(generators=[GeneratorUse(3.0, 20.0, 20_000)])
    (doubt,) = doubts_of(idle, samples(), HERE)
    assert doubt.kind == "shared-cpus"
    assert doubt.text.startswith("this machine was busy (99% of 2 CPUs), with the service or other work, hardly")


def test_of_a_late_generator_the_worse_is_told() -> None:
    """It may be a little late always, and very late now and then."""
    halted = result(load=OPEN, generators=[GeneratorUse(8.0, 20.0, 20_000, 0.0003, 0.0014)])
    (doubt,) = doubts_of(halted, samples(), Surroundings())
    assert doubt.text.startswith("the generator itself sent late, 1.4ms of the 1.5ms at p99: ")


def test_little_was_measured() -> None:
    """Advice by what was asked for: longer, or more."""
    short = result(requests=500, seconds=2.0)
    assert "by --duration 4s" in doubts_of(short, samples(), Surroundings())[0].text
    by_count = result(requests=5000, load=Load(url="tcp://127.0.0.1:9", requests=5000))
    assert "p99.9: " in doubts_of(by_count, samples(), Surroundings())[0].text
    assert "by --requests 10000" in doubts_of(by_count, samples(), Surroundings())[0].text


def test_clients_of_few_turns() -> None:
    """Ten that are answered each 400 ms do 25 a second, of which a second shows 20 or 30."""
    stepped = result(load=Load(url="tcp://127.0.0.1:9", clients=10), requests=20, seconds=1.0)
    doubt, _ = doubts_of(stepped, samples(), Surroundings())
    assert doubt.kind == "too-short"
    assert doubt.text.startswith("2 requests a client are too few for a rate: it goes by steps of 50%; ")
    assert doubt.text.endswith("by --duration 10s")
    counted = Load(url="tcp://127.0.0.1:9", clients=10, requests=199)
    assert "by --requests 200" in doubts_of(result(load=counted, requests=199), samples(), Surroundings())[0].text
    enough = result(load=replace(counted, requests=200), requests=200)
    assert "a client" not in doubts_of(enough, samples(), Surroundings())[0].text
    open_loop = result(load=replace(counted, rate=100.0), requests=20)
    assert "a client" not in doubts_of(open_loop, samples(), Surroundings())[0].text


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


def test_the_last_request_is_no_stall() -> None:
    """It hangs alone, for no more are begun; one that hangs while they are stands in the way of all."""
    load = Load(url="tcp://127.0.0.1:9", duration=3.0)
    raw = samples(count=3000)
    raw.rows["ended"][-1] = 13.0
    raw.rows["kind"][-1] = KINDS.index("timeout")
    assert "stall" not in {doubt.kind for doubt in told(load, raw).doubts}
    raw.rows["intended"][1500:] += 1.0  # as if nothing had been over for a second
    raw.rows["ended"][1500:] += 1.0
    raw.rows["intended"][1500] = raw.rows["started"][1500] = 1.5
    assert longest_stall(raw, 4.0) == pytest.approx((1.5, 1.001))


def queued(offered: float, served: float, seconds: float = 3.0) -> Samples:
    """Of a service that answers so many a second, one after another."""
    raw = samples(count=round(offered * seconds), every=1 / offered, latency=0.0)
    raw.rows["ended"] = np.maximum(raw.rows["intended"], np.arange(len(raw.rows)) / served) + 1 / served
    return raw


def test_a_service_that_is_offered_more_than_it_can_do() -> None:
    """All is answered in the end; yet its rate is its own, and not what was offered."""
    overloaded = told(Load(url="tcp://127.0.0.1:9", rate=300.0, clients=1000, duration=3.0), queued(300.0, 90.0))
    assert overloaded.requests == 900
    assert overloaded.rate == pytest.approx(90.0, rel=0.01)
    assert overloaded.doubts[0].kind == "behind"
    assert overloaded.doubts[0].text.startswith("offered 300/s and answered 90.0/s: ")


def test_a_service_that_is_slow_is_not_behind() -> None:
    """However long a request takes, as long as that does not grow; nor is it by what chance heaps up at the end."""
    assert not fell_behind(queued(300.0, 310.0), 3.0)
    for latency in (0.001, 0.5, 1.4, 2.9, 10.0):
        assert not fell_behind(samples(count=900, every=1 / 300, latency=latency), 3.0)
    by_chance = samples(count=20, every=0.001, latency=0.001)
    by_chance.rows["ended"][-3:] += 0.03
    assert not fell_behind(by_chance, 0.02)


def test_a_service_that_becomes_slow_is_behind() -> None:
    """By what waits at the end, although it kept up with the first half; and wherever something was not sent at all."""
    raw = samples(count=900, every=1 / 300, latency=0.001)
    raw.rows["ended"][450:] = 1.5 + np.arange(450) / 100
    assert fell_behind(raw, 3.0)
    stopped = queued(300.0, 90.0)
    stopped.rows["kind"][stopped.rows["ended"] > 3.0] = KINDS.index("unfinished")
    stopped.rows["ended"] = np.minimum(stopped.rows["ended"], 3.0)
    assert fell_behind(stopped, 3.0)
    unsent = samples(count=900, every=1 / 300, latency=0.001)
    unsent.rows["kind"][-1] = KINDS.index("unsent")
    assert fell_behind(unsent, 3.0)


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
