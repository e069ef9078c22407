"""What is on the screen: as many lines as it has, none wider, whatever there is to show."""

from hypothesis import given
from hypothesis import strategies as st

from prefork.control.messages import Degraded, QueueStatus, ServiceStatus
from prefork.control.report import Report
from prefork.top.dialog import Dialog, Page
from prefork.top.history import History
from prefork.top.picture import Shown, draw
from tests.snapshots import report, request, service, worker


def shown(*reports: Report, dialog: Dialog = Dialog(), gone: str = "", at: float = 100.0) -> Shown:  # noqa: B008
    history = History()
    for number, one in enumerate(reports):
        history.add(one, at - len(reports) + 1 + number)
    return Shown(history, dialog, gone, (), at)


def drawn(what: Shown, width: int = 100, height: int = 30) -> list[str]:
    lines, _ = draw(what, width, height)
    return [line.plain.rstrip() for line in lines]


def two_reports(**changed: object) -> list[Report]:
    """A service that served ten requests within the last second."""
    queues = [QueueStatus(bind="tcp://127.0.0.1:9000", waiting=3, limit=128)]
    busy = worker(2, state="busy", current=[request(label="GET /")])
    first = service(requests=7, queues=queues, **changed)
    second = service(requests=17, queues=queues, busy=1, **changed)
    return [report(worker(1), busy, status=first), report(worker(1), busy, status=second, uptime=3724)]


def test_the_instance_its_service_its_workers_and_the_keys() -> None:
    """From top to bottom, aligned; the selected worker is marked."""
    lines = drawn(shown(*two_reports()))
    assert lines[:9] == [
        "shop [7]  prefork 1.0  up 1h 2m",
        "▸ echo  healthy; generation 1; 2 of 2 workers ready, 1 busy",
        "  queue 3; 10.0/s, 0 failed; workers 0% busy",
        "  rate                                 █ 10.0/s   p99                                    -",
        "  queue                                █ 3        busy                                 ▁ 0%",
        "",
        "  slot   pid  state  age  requests  errors   rate  busy  now",
        "▸    1  1001  idle   10s         0       0  0.0/s    0%",
        "     2  1002  busy   10s         0       0  0.0/s    0%  0.25s 10.0.0.7:51022 #12 GET /",
    ]
    assert lines[-1].startswith("q quit")
    assert len(lines) == 30


def test_what_is_wrong_is_told_before_the_workers() -> None:
    """With its reason."""
    lack = Degraded(why="workers die", failures=4, next_try_seconds=1)
    lines = drawn(shown(*two_reports(phase="degraded", degraded=lack, all_busy_seconds=4.0)))
    assert "  degraded: workers die; 4 in a row, next try in 1s" in lines
    assert "all 2 busy for 4s" in lines[2]


def test_an_instance_that_is_gone_is_shown_as_it_was() -> None:
    """With when that was, and why nothing newer comes."""
    (line, *rest) = drawn(shown(*two_reports(), gone="no instance shop runs here")._replace(at=107.5))
    assert line == "shop [7], as it was 7s ago: no instance shop runs here"
    assert any("1002" in other for other in rest)


def test_a_question_and_a_note_stand_above_the_keys() -> None:
    """The question wins."""
    dialog = Dialog(note="scaled")
    assert drawn(shown(*two_reports(), dialog=dialog))[-2] == "scaled"
    under_way = shown(*two_reports())._replace(under_way=["recycle worker 1"])
    assert drawn(under_way)[-2] == "recycle worker 1 …"


def test_a_page_takes_the_place_of_the_table() -> None:
    """From its offset, without what could steer the terminal."""
    dialog = Dialog(page=Page("dump worker 1", ("first", "second\x1b[2J", "third"), 1))
    lines = drawn(shown(*two_reports(), dialog=dialog), height=12)
    assert lines[2:6] == ["dump worker 1", "second\\x1b[2J", "third", ""]
    assert "any other key returns" in lines[-1]


def test_a_long_table_shows_the_selected_worker() -> None:
    """Whichever it is."""
    workers = [worker(slot) for slot in range(1, 501)]
    for slot in (1, 250, 500):
        lines = drawn(shown(report(*workers), dialog=Dialog(chosen=("echo", slot))), height=20)
        assert sum(line.startswith("▸ ") and f" {1000 + slot} " in line for line in lines) == 1


def test_a_narrow_terminal_keeps_what_workers_are_doing() -> None:
    """Figures that tell less go; who they are and whom they serve stays."""
    heads = {width: drawn(shown(*two_reports()), width)[6].split() for width in (120, 90, 80, 60)}
    assert heads[120] == ["slot", "pid", "state", "age", "requests", "errors", "rate", "busy", "now"]
    assert heads[90] == ["slot", "pid", "state", "age", "errors", "rate", "busy", "now"]
    assert heads[80] == ["slot", "pid", "state", "errors", "rate", "busy", "now"]
    assert heads[60] == ["slot", "pid", "state", "busy", "now"]


def test_a_terminal_that_is_too_small_is_told() -> None:
    """And is drawn in, nevertheless."""
    lines = drawn(shown(*two_reports()), 39, 5)
    assert lines == ["39 by 5 is too small; 40 by 8 will do", "q quits", "", "", ""]


def services(count: int) -> Report:
    """An instance of many, each with a worker."""
    statuses: list[ServiceStatus] = [service(name=f"service-{n}") for n in range(count)]
    one = report()
    workers = {status.name: [worker(n + 1)] for n, status in enumerate(statuses)}
    snapshot = type(one.snapshot)(name="shop", pid=7, package="1", uptime_seconds=1, services=statuses)
    return Report(snapshot, workers)


def test_many_services_leave_room_for_workers() -> None:
    """Their figures become fewer, then they are cut off."""
    for count in (1, 2, 4, 8, 50):
        lines = drawn(shown(services(count)), height=24)
        assert sum("  idle  " in line for line in lines) >= min(count, 4)


LONG = Page("a title", ("b" * 300,) * 90)


@given(
    st.integers(1, 200),
    st.integers(1, 60),
    st.integers(0, 12),
    st.text(),
    st.sampled_from(
        [Dialog(), Dialog(is_help=True), Dialog(note="é\x1b" * 50), Dialog(page=Page("a", ("b" * 300,) * 90))]
    ),
)
def test_no_line_is_wider_than_the_screen_nor_one_too_many(
    width: int, height: int, count: int, label: str, dialog: Dialog
) -> None:
    """For any size, pool and label; and nothing in it steers the terminal."""
    workers = [worker(slot, current=[request(peer=label, label=label)]) for slot in range(1, count + 1)]
    lines, _ = draw(shown(report(*workers), report(*workers, uptime=3724), dialog=dialog), width, height)
    assert len(lines) == height
    assert all(line.cell_len <= width for line in lines)
    assert all(line.plain.isprintable() for line in lines)
