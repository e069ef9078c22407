"""What a running service did in a window, and what follows, from reports of services that never ran."""

import random
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from prefork.cli import cli
from prefork.lab import live, live_watch, profiles
from prefork.lab.goals import Goal
from prefork.lab.live import Look, Window
from prefork.lab.live_advice import LiveAdvice, advise, least
from prefork.system.usage import Usage
from tests import snapshots
from tests.lab import made_up_service
from tests.lab.made_up_service import Taken

GIB = 1 << 30


def even(dice: random.Random) -> float:
    return 0.05


def varied(dice: random.Random) -> float:
    return dice.expovariate(1 / 0.05)


def window(workers: int, rate: float, taken: Taken = varied, **how: object) -> Window:
    return live.window(made_up_service.looks(workers, rate, taken, **how), "echo")  # type: ignore[arg-type]


def advised(found: Window, *goals: Goal, cpus: float = 8.0, memory: int = 8 * GIB) -> LiveAdvice:
    return advise(found, goals, cpus, memory)


@pytest.mark.parametrize("taken", [even, varied])
def test_a_window_is_what_happened(taken: Taken) -> None:
    """Arrivals, their variability, what requests take, and how busy workers were."""
    found = window(12, 60, taken, seconds=120)
    assert found.rate == pytest.approx(60, rel=0.06)
    assert found.busy == pytest.approx(3, rel=0.1)
    assert found.utilisation == pytest.approx(0.25, rel=0.1)
    assert found.service_mean == pytest.approx(0.05, rel=0.05)
    assert 0.6 < found.arrival_scv < 1.6
    assert (found.saturated, found.queued, found.errors) == (0, 0, 0)
    times = found.service_seconds
    assert times == sorted(times)
    expected = 0.05 if taken is even else 0.05 * 4.6
    assert times[int(0.99 * len(times))] == pytest.approx(expected, rel=0.3)  # a bucket is a quarter wide


def test_bursts_are_seen_in_the_dispersion_of_counts() -> None:
    """Eight clients at a time: variance by mean is eight."""
    assert window(12, 60, seconds=240, burst=8).arrival_scv == pytest.approx(8, rel=0.35)


def test_quantiles_have_the_mean_that_is_known() -> None:
    """Buckets are wide, the mean is exact."""
    counts = [0] * 72
    counts[30] = 90
    counts[40] = 10
    found = live.quantiles(live.buckets(counts, 0.021))
    assert sum(found) / len(found) == pytest.approx(0.021, rel=0.01)
    assert found == sorted(found)
    assert len(found) == 100
    assert live.quantiles(live.buckets([0] * 72, 0.0)) == []
    assert live.moments([]) == (0.0, 0.0)


def test_what_has_no_bound_is_called_the_last_bound() -> None:
    """And takes what the mean says beyond it; the others stay what they are."""
    counts = [0] * 72
    counts[71] = 3
    assert live.quantiles(live.buckets(counts, 0.0)) == pytest.approx([100.0] * 3)
    counts[30] = 97
    found = live.quantiles(live.buckets(counts, 6.0))
    assert found[-3:] == pytest.approx([200.0] * 3, rel=0.01)
    assert found[50] == pytest.approx(0.009, rel=0.1)


def test_what_is_rare_is_not_lost() -> None:
    """One in a million of a minute: no quantile has it, the variation does, and the others take what they take."""
    counts = [0] * 72
    counts[34] = 999_999
    counts[68] = 1
    served = live.buckets(counts, 0.0224)
    found = live.quantiles(served)
    assert found[1000] == pytest.approx(0.0224, rel=0.02)
    scv, third = live.moments(served)
    assert scv == pytest.approx(1e-6 * 56**2 / 0.0224**2, rel=0.1)
    assert third == pytest.approx(1e-6 * 56**3 / 0.0224**3, rel=0.1)


def test_a_tail_of_one_in_five_hundred_decides() -> None:
    """It is in the percentiles, in the variation, and in what is promised of it."""

    def tailed(dice: random.Random) -> float:
        return 5.0 if dice.random() < 0.002 else 0.02

    found = window(24, 199, tailed, seconds=120)
    assert found.service_seconds[len(found.service_seconds) // 2] == pytest.approx(0.02, rel=0.15)
    assert found.service_scv > 30
    out = advised(found, Goal(0.999, 0.1))
    assert (out.verdict, out.workers, out.toml) == ("impossible", None, [])
    assert "the service time alone has p999" in out.headline


def test_a_percentile_that_few_requests_show_is_not_answered_with() -> None:
    """Ten requests beyond it are the least; it says how many that takes."""
    found = window(12, 60, even, seconds=120)
    assert advised(found, Goal(0.99, 0.2)).workers is not None
    advice = advised(found, Goal(0.999, 0.2))
    assert (advice.verdict, advice.workers, advice.toml) == ("unknown", None, [])
    assert advice.headline.startswith("too little traffic to say: ")
    assert advice.headline.endswith(", and 10000 are the least for p999; watch longer (--window)")


def test_fewer_would_do() -> None:
    """And those would: simulated with the number advised, hardly anybody waits."""
    found = window(12, 60, seconds=120)
    advice = advised(found)
    assert advice.verdict == "fewer"
    assert advice.workers is not None
    assert advice.headline.startswith(f"{advice.workers} of 12 workers would do: ")
    assert advice.toml == ["[service.echo]", f"workers = {advice.workers}"]
    again = window(advice.workers, 60, seconds=120, seed=2)
    assert again.saturated < 0.1
    assert window(advice.workers - 2, 60, seconds=120, seed=2).saturated > again.saturated


def test_more_are_needed_where_it_was_saturated() -> None:
    """The share of looks at which it was is the headline."""
    advice = advised(window(4, 60, seconds=120))
    assert advice.verdict == "more"
    assert advice.workers is not None
    assert advice.headline.startswith(f"add {advice.workers - 4}: you were saturated ")
    assert any("watch again" in reason for reason in advice.reasons)


def test_as_many_as_there_are_can_be_right() -> None:
    """Nothing is changed for a worker or two."""
    needed = least(window(12, 60, seconds=120), [])
    assert needed is not None
    advice = advised(window(needed, 60, seconds=120))
    assert (advice.verdict, advice.toml) == ("right", [])
    assert advice.headline.startswith(f"{needed} are right: ")


def test_few_requests_say_nothing() -> None:
    """But how many there were, and what to do."""
    advice = advised(window(2, 0.2))
    assert advice.verdict == "unknown"
    assert advice.workers is None
    assert advice.headline.endswith("; watch longer (--window)")
    assert advised(window(2, 0.001)).headline.startswith("too little traffic to say: 0 requests in 60 s")


def test_an_overload_by_long_requests_is_not_too_little_traffic() -> None:
    """Few end while hundreds come: it says add, and how many as soon as some have ended."""

    def long(dice: random.Random) -> float:
        return 20.0

    found = window(12, 5, long, seconds=180)
    assert found.requests < 100 < found.arrivals
    advice = advised(found)
    assert advice.verdict == "more"
    assert advice.workers is not None
    assert 100 <= advice.workers <= 150  # 5/s of 20 s are 100 at a time
    assert advice.headline.startswith("add ")
    assert ": you were saturated 9" in advice.headline
    assert " served of " in advice.reasons[0]
    advice = advised(window(12, 5, long, seconds=30))
    assert (advice.verdict, advice.workers, advice.toml) == ("more", None, [])
    assert advice.headline.startswith("add workers: you were saturated ")
    assert advice.headline.endswith("how many cannot be said of 12 requests in 30 s; watch longer (--window)")


def test_few_clients_that_hold_all_workers_are_too_little_traffic() -> None:
    """Nobody waits: that is no overload; nor is a pool that is still to grow. But it is told how full it was."""
    found = replace(window(1, 0.2, even), saturated=1.0)
    assert advised(found).verdict == "unknown"
    assert any("saturated at 100% of looks" in reason for reason in advised(found).reasons)
    queued = replace(found, queued=2.0, queued_most=3)
    assert advised(queued).verdict == "more"
    assert advised(replace(queued, configured=(1, 8))).verdict == "unknown"


def test_a_goal_is_met_or_said_to_be_out_of_reach() -> None:
    """A tighter one needs no fewer; one below the service time nothing helps."""
    found = window(12, 60, seconds=120)
    loose, tight = (least(found, [Goal(0.99, seconds)]) for seconds in (0.6, 0.26))
    assert loose is not None
    assert tight is not None
    assert loose <= tight
    assert "meet p99 260ms" in advised(found, Goal(0.99, 0.26)).headline
    out = advised(found, Goal(0.99, 0.1))
    assert (out.verdict, out.workers) == ("impossible", None)
    assert "the service time alone has p99" in out.headline


def test_workers_that_do_not_fit_into_memory_are_no_advice() -> None:
    """More are needed than fit, with a reserve: no number is advised, least of all fewer than run."""
    looks = made_up_service.looks(4, 60, varied, seconds=60)
    usage = {pid: Usage(100 << 20, 90 << 20, 1.0, looks[-1].at) for pid in [7, *range(1000, 1004)]}
    looks[-1] = Look(looks[-1].report._replace(usage=usage), looks[-1].at)
    found = live.window(looks, "echo")
    assert (found.worker_bytes, found.base_bytes, found.cpus) == (100 << 20, 100 << 20, None)
    for memory, fitting in ((800, 5), (500, 3)):
        advice = advised(found, memory=memory << 20)
        assert (advice.verdict, advice.workers, advice.toml) == ("impossible", None, [])
        assert " workers were needed, and of 100M each only " in advice.headline
        assert f"only {fitting} fit into 80% of {memory}M; add memory" in advice.headline
    many = replace(window(12, 60, seconds=120), worker_bytes=100 << 20, base_bytes=100 << 20)
    advice = advised(many, memory=600 << 20)
    assert advice.verdict == "fewer"
    assert any("only 3 fit into 80% of 600M: " in reason for reason in advice.reasons)


def test_services_share_the_memory() -> None:
    """What workers of the others take is not free."""
    found = replace(window(4, 60, seconds=60), worker_bytes=100 << 20, base_bytes=100 << 20)
    assert advised(found, memory=2 << 30).verdict == "more"
    advice = advise(found, [], 8.0, 2 << 30, 1 << 30)
    assert advice.verdict == "impossible"
    assert "only 5 fit into 80% of 2.0G beside the 1.0G of other services" in advice.headline


def test_each_service_of_an_instance_has_its_own_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the order of the instance; a profile is of one, which is said before anybody watches."""
    echo = made_up_service.looks(12, 60, varied, seconds=60)
    pairs = zip(echo, made_up_service.looks(2, 0.2, even, seconds=60), strict=True)
    watched = live_watch.Watched([Look(made_up_service.both(a.report, b.report, "idle"), a.at) for a, b in pairs], [])
    monkeypatch.setattr(live_watch, "watch", lambda *_: watched)
    monkeypatch.setattr(live_watch, "services", lambda _: ["echo", "idle"])
    told = CliRunner().invoke(cli, ["tune", "--live"])
    headlines = [line for line in told.stdout.splitlines() if not line.startswith(" ")]
    assert headlines[0].startswith("echo: 7 of 12 workers would do: ")
    assert headlines[1].startswith("idle: too little traffic to say: ")
    assert told.exit_code == 1
    monkeypatch.setattr(live_watch, "watch", lambda *_: pytest.fail("nobody need watch for that"))
    refused = CliRunner().invoke(cli, ["tune", "--live", "--save-profile", str(tmp_path / "a.json")])
    assert str(refused.exception) == "--save-profile: a profile is of one service; name one of echo, idle"


def test_a_sized_pool_is_told_its_bounds() -> None:
    """The usual need as the least, what is needed at most as the most; spare is what the need spreads by."""
    found = replace(window(12, 60, seconds=120), configured=(1, 12))
    assert 1 < found.busy_spread <= 2  # of a Poisson law with a mean of 3: 1.7
    advice = advised(found)
    assert advice.toml == [
        "[service.echo]",
        "min_workers = 3",
        f"max_workers = {advice.workers}",
        "min_spare = 2",
        "max_spare = 3",
    ]


@pytest.mark.parametrize("spread", [0.0, 1.7, 30.0])
@pytest.mark.parametrize(("at_once", "busy"), [(1, 0.0), (1, 3.0), (1, 100.0), (4, 3.0)])
def test_what_a_sized_pool_is_told_can_be_run(tmp_path: Path, spread: float, at_once: int, busy: float) -> None:
    """Beside what it had: prefork check takes it, and usually there is room to shrink to."""
    seen = window(12, 60, seconds=20)
    advice = advised(replace(seen, configured=(1, 40), busy=busy, busy_spread=spread, at_once=at_once))
    told = dict(line.split(" = ") for line in advice.toml[1:])
    bounds = {name: int(value) for name, value in told.items()}
    usual, most = bounds["min_workers"], bounds["max_workers"]
    assert usual + bounds["max_spare"] < most or bounds["max_spare"] == 1
    settings = {"target": '"shop:Orders"', "bind": '["tcp://127.0.0.1:9000"]', "max_spare": "2"} | told
    config = tmp_path / "prefork.toml"
    config.write_text("\n".join([advice.toml[0], *(f"{name} = {value}" for name, value in settings.items())]))
    checked = CliRunner().invoke(cli, ["check", "--config", str(config)])
    assert checked.exit_code == 0, checked.output
    assert checked.exception is None


def test_a_sized_pool_that_still_grows_is_not_short() -> None:
    """What is saturated on the way to more workers is no reason for more than that."""
    found = replace(window(4, 60, seconds=60), configured=(1, 12))
    assert found.saturated > 0.05
    assert advised(found).verdict == "fewer"
    assert advised(replace(found, configured=(1, 4))).headline.startswith("add ")


def test_threads_are_room_as_well() -> None:
    """The advice is of workers, each with so many at once."""
    single = window(12, 60, seconds=120)
    lanes, workers = least(single, []), least(replace(single, at_once=4), [])
    assert lanes is not None
    assert workers == -(-lanes // 4)


def test_a_profile_knows_how_many_a_worker_serves_at_once() -> None:
    """And is none where nobody may look at the memory."""
    found = replace(window(12, 60, seconds=20), at_once=4)
    assert profiles.of_window(found, 3, 8.0, GIB) is None
    kept = profiles.of_window(replace(found, worker_bytes=1 << 20, base_bytes=1 << 20), 3, 8.0, GIB)
    assert kept is not None
    assert (kept.at_once, kept.workers, kept.source) == (4, 3, "live")


def test_full_cpus_are_no_case_for_workers() -> None:
    """More of them are advised, with what stands against it."""
    found = replace(window(4, 60, seconds=60), cpus=1.9)
    assert any("1.9 of 2 CPUs" in reason for reason in advised(found, cpus=2.0).reasons)


def test_an_instance_that_began_anew_is_another() -> None:
    """Another master, a shorter life, or counts that shrank."""
    status = snapshots.service(requests=100)
    before = made_up_service.report(status, [], 100.0)
    assert not live.is_anew(before, made_up_service.report(snapshots.service(requests=120), [], 101.0))
    assert live.is_anew(before, made_up_service.report(status, [], 101.0, pid=8))
    assert live.is_anew(before, made_up_service.report(status, [], 3.0))
    assert live.is_anew(before, made_up_service.report(snapshots.service(requests=3), [], 101.0))
