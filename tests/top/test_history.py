"""Rates are what changed from one report to the next."""

from prefork.control.messages import QueueStatus
from prefork.histogram import NOTHING, bucket
from prefork.system.usage import Usage
from prefork.top.history import LATELY, STROKES, History, Moment, Pace
from tests.snapshots import report, request, service, worker


def times(**milliseconds: int) -> list[int]:
    """``times(_5=2)``: two requests of 5 ms."""
    counts = list(NOTHING)
    for name, count in milliseconds.items():
        counts[bucket(int(name[1:]) * 10**6)] += count
    return counts


def test_a_moment_is_what_happened_between_two_reports() -> None:
    """Requests a second, the slowest of them, who waits, and how busy workers were, with what is under way."""
    history = History()
    history.add(
        report(worker(1), worker(2), status=service(requests=100, busy_seconds=5, service_times=times(_1=100))), 10
    )
    queues = [QueueStatus(bind="tcp://a", waiting=3), QueueStatus(bind="tcp://b", waiting=1)]
    after = service(requests=120, busy_seconds=6, service_times=times(_1=118, _80=2), queues=queues)
    history.add(report(worker(1), worker(2, current=[request(age=2)]), status=after), 12)
    assert history.moments("echo") == (Moment(rate=10.0, p99=0.08, waiting=4, busy=0.75),)
    found = history.lately(after)
    assert found is not None
    assert (found.requests, found.rate_per_second, found.p50_seconds) == (20, 10.0, 0.001)


def test_the_pace_of_a_worker_is_of_the_last_interval() -> None:
    """Requests, busy time, CPU time; of one who was not there before nothing is known."""
    history = History()
    before = {1001: Usage(pss=1, uss=1, cpu_seconds=3.0, at=9.0), 1002: Usage(pss=1, uss=1, cpu_seconds=1.0, at=9.0)}
    history.add(report(worker(1, requests=5, busy_seconds=1.0), worker(2), usage=before), 10)
    after = before | {1001: Usage(pss=1, uss=1, cpu_seconds=3.5, at=11.0)}  # the other was not looked up again
    history.add(report(worker(1, requests=9, busy_seconds=2.0), worker(2), worker(3), usage=after), 12)
    assert history.paces == {1001: Pace(rate=2.0, busy=0.5, cpu=0.25), 1002: Pace(rate=0.0, busy=0.0, cpu=None)}


def test_a_successor_in_the_slot_does_not_inherit_its_figures() -> None:
    """Another pid is another worker."""
    history = History()
    history.add(report(worker(1, requests=500)), 10)
    history.add(report(worker(1, pid=2001, requests=3)), 11)
    assert history.paces == {}


def test_an_instance_that_began_anew_has_a_history_of_its_own() -> None:
    """It counts from nothing, and that is no negative rate."""
    history = History()
    history.add(report(status=service(requests=100), uptime=50), 10)
    history.add(report(status=service(requests=110), uptime=51), 11)
    history.add(report(status=service(requests=5), uptime=1, pid=8), 12)
    assert history.moments("echo") == ()
    history.add(report(status=service(requests=6), uptime=2, pid=8), 13)
    assert [moment.rate for moment in history.moments("echo")] == [1.0]


def test_figures_are_of_the_last_seconds() -> None:
    """Of no more, and a long run does not fill memory."""
    history = History()
    for second in range(STROKES + 20):
        status = service(requests=second * second)
        history.add(report(status=status, uptime=second), second)
    assert len(history.moments("echo")) == STROKES
    found = history.lately(status)
    assert found is not None
    assert (found.seconds, found.requests) == (LATELY, (second * second - (second - 10) ** 2))


def test_a_service_that_comes_and_goes_is_followed() -> None:
    """As a reload may bring and take it."""
    history = History()
    history.add(report(worker(1)), 10)
    history.add(report(worker(1), status=service(name="new")), 11)
    assert history.moments("new") == ()
    history.add(report(worker(1), status=service(name="new", requests=9)), 12)
    assert [moment.rate for moment in history.moments("new")] == [2.0]
