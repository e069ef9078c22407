"""Log lines of many processes in one file that may be moved or full at any time; one promise a test."""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from prefork.system.logfile import LogFile
from prefork.system.logline import Who
from prefork.system.logs import Logs, set_up
from tests.children import Child, Link, said_by

PROCESSES = 4
LINES = 200  # each


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prefork.log"


@pytest.fixture
def log(path: Path) -> Iterator[LogFile]:
    """A log file that gets all records meanwhile."""
    log = LogFile(str(path))
    logging.getLogger().addHandler(log)
    yield log
    logging.getLogger().removeHandler(log)


def write(log: LogFile, text: str) -> None:
    log.emit(logging.makeLogRecord({"msg": text}))


def a_line(process: int, number: int) -> str:
    """A line of any length, the longest far beyond what a pipe writes whole."""
    return f"{process} {number} " + "x" * (number**2)


def test_lines_of_many_processes_never_mix(path: Path) -> None:
    """Every line of every process is in the file once and whole, and a process' own are in order."""

    def write_all(process: int, parent: Link) -> None:
        log = LogFile(str(path))
        parent.hear()
        for number in range(LINES):
            write(log, a_line(process, number))

    with ExitStack() as children:
        writers = [
            children.enter_context(Child(lambda parent, process=process: write_all(process, parent)))  # type: ignore[misc]
            for process in range(PROCESSES)
        ]
        for writer in writers:
            writer.say("begin")
        for writer in writers:
            writer.hear()

    lines = path.read_text().splitlines()
    assert Counter(lines) == Counter(a_line(process, number) for process in range(PROCESSES) for number in range(LINES))
    for process in range(PROCESSES):
        assert [line for line in lines if line.startswith(f"{process} ")] == [a_line(process, n) for n in range(LINES)]


def test_an_existing_file_is_continued(path: Path) -> None:
    """What an earlier process has written stays."""
    path.write_text("earlier\n")
    write(LogFile(str(path)), "later")
    assert path.read_text() == "earlier\nlater\n"


def test_after_reopening_nothing_goes_to_a_file_that_was_moved_away(path: Path, log: LogFile) -> None:
    """Rotation: the old file keeps what it has, the new one gets what comes."""
    write(log, "before")
    moved = path.rename(path.with_suffix(".1"))
    write(log, "still open")
    log.reopen()
    write(log, "after")

    assert (moved.read_text(), path.read_text()) == ("before\nstill open\n", "after\n")


def test_reopening_keeps_the_number_of_the_descriptor(path: Path, log: LogFile) -> None:
    """Whoever writes there without us goes on into the new file."""
    fd = log.fileno()
    path.rename(path.with_suffix(".old"))
    log.reopen()
    os.write(fd, b"by another hand\n")
    assert log.fileno() == fd
    assert path.read_text() == "by another hand\n"
    assert not os.get_inheritable(fd)


def test_reopening_often_keeps_one_descriptor(log: LogFile) -> None:
    """The old file is let go, so that its space is free once it is deleted."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        log.reopen()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_path_that_cannot_be_reopened_is_said_in_the_old_file(path: Path, log: LogFile) -> None:
    """A reopen that fails is a warning with its reason, and the open file serves on."""
    moved = path.rename(path.with_suffix(".1"))
    path.mkdir()

    log.reopen()
    write(log, "serves on")

    warning, last = moved.read_text().splitlines()
    assert warning == f"cannot reopen {path}: [Errno 21] Is a directory: '{path}'; still writing to the old file"
    assert last == "serves on"


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """At the start it is told to who asked, with the path."""
    with pytest.raises(FileNotFoundError, match="missing"):
        LogFile(str(tmp_path / "missing" / "prefork.log"))


def test_nobody_waits_for_the_reader_of_a_named_pipe(path: Path, log: LogFile) -> None:
    """A master may not stand still: it is an error, or reopened, the old file goes on. With a reader it is a log."""
    kept = os.open(path, os.O_RDONLY)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device or address"):
        LogFile(str(path))
    log.reopen()
    assert b"still writing to the old file" in os.read(kept, 4096)
    os.close(kept)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log.reopen()
    assert os.get_blocking(log.fileno())  # as ever: what is logged waits for room, and is not lost
    log.warn("prefork", "heard")
    assert os.read(reader, 4096).endswith(b"heard\n")
    os.close(reader)


def test_a_full_disk_is_no_reason_to_fail() -> None:
    """A record that cannot be written is lost, and nothing else."""
    log = LogFile("/dev/full")
    write(log, "lost")
    write(log, "lost too")


def test_a_reader_that_left_is_no_reason_to_fail() -> None:
    """Standard error may be a pipe whose reader ends before us."""

    def write_to_nobody(parent: Link) -> str:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 2)
        write(LogFile(), "anybody?")
        return "lives on"

    assert said_by(write_to_nobody) == "lives on"


def test_a_record_that_cannot_be_formatted_is_no_reason_to_fail(path: Path, log: LogFile) -> None:
    """A wrong log call in somebody's library costs its own line, as with the standard library's handlers."""

    def log_wrongly(parent: Link) -> str:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        logging.getLogger().handlers[:] = [log]  # pytest's own are strict
        logging.getLogger("app").error("%d apples", "no number")
        logging.getLogger("app").error("next")
        return path.read_text().splitlines()[-1]

    assert said_by(log_wrongly) == "next"


def test_text_that_is_no_text_is_written_with_escapes(path: Path, log: LogFile) -> None:
    """A file name of foreign bytes does not cost the line that names it."""
    write(log, "cannot read \udcff")
    assert path.read_text() == "cannot read \\udcff\n"


def test_a_record_of_several_lines_stays_in_one_piece(path: Path, log: LogFile) -> None:
    """A traceback is one record, so it is one write."""
    try:
        raise LookupError("gone")
    except LookupError:
        logging.getLogger("app").exception("failed")
    assert re.fullmatch(r"failed\nTraceback .*\nLookupError: gone\n", path.read_text(), re.DOTALL)


def test_without_a_path_standard_error_is_the_log() -> None:
    """Reopening it changes nothing."""

    def write_to_stderr(parent: Link) -> bytes:
        reader, writer = os.pipe()
        os.dup2(writer, 2)
        log = LogFile()
        write(log, "one")
        log.reopen()
        write(log, "two")
        return os.read(reader, 99)

    assert said_by(write_to_stderr) == b"one\ntwo\n"


def test_no_program_inherits_the_file(log: LogFile) -> None:
    """A program that the application starts holds no log open."""
    assert not os.get_inheritable(log._fd)


def test_who_writes_notices_that_the_file_was_moved_away(path: Path, log: LogFile) -> None:
    """Or removed; and not again once it is open anew. The record that notices is in the old file, and not lost."""
    noticed: list[str] = []
    log.when_moved = lambda: noticed.append("moved")
    write(log, "in its place")
    assert not log.has_moved
    moved = path.rename(path.with_suffix(".1"))
    assert log.has_moved
    write(log, "notices")
    log.reopen()
    write(log, "in its place again")
    assert noticed == ["moved"]
    assert (moved.read_text(), path.read_text()) == ("in its place\nnotices\n", "in its place again\n")


def test_a_mirror_follows_the_file(path: Path) -> None:
    """Standard output of a program, say: it goes on into the new file."""

    def write_by_descriptor(parent: Link) -> None:
        log = LogFile(str(path))
        log.mirror((1, 2))
        os.write(1, b"one\n")
        path.rename(path.with_suffix(".1"))
        log.reopen()
        os.write(2, b"two\n")

    said_by(write_by_descriptor)
    assert (path.with_suffix(".1").read_text(), path.read_text()) == ("one\n", "two\n")


LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?P<level>[A-Z]+) (?P<who>.*) \[(?P<pid>\d+)\] (?P<text>.*)"


def set_up_and_log(path: Path, level: str, who: Who, then_who: Who) -> tuple[int, list[tuple[str, str, str, str]]]:
    def log_lines(parent: Link) -> int:
        log = set_up(Logs(str(path), level=level), who)
        logging.getLogger("app").debug("quiet")
        logging.getLogger("app").warning("100 %% of %s", "it")
        log.sign(then_who)
        logging.getLogger("app").error("loud")
        return os.getpid()

    pid = said_by(log_lines)
    matches = [re.fullmatch(LINE, line) for line in path.read_text().splitlines()]
    return pid, [(m["level"], m["who"], m["pid"], m["text"]) for m in matches if m]


def test_a_line_says_when_how_bad_who_and_which_process(path: Path) -> None:
    """The time is UTC to the millisecond, and the signature is what was last asked for."""
    pid, lines = set_up_and_log(
        path, "info", Who("mold", "shop", "echo", generation=3), Who("worker", "shop", "echo", 2, 3)
    )

    assert lines == [
        ("WARNING", "shop/echo mold g3", str(pid), "100 % of it"),
        ("ERROR", "shop/echo worker 2 g3", str(pid), "loud"),
    ]


def test_a_signature_may_hold_any_character(path: Path) -> None:
    """A percent sign in a name is no format."""
    pid, lines = set_up_and_log(path, "error", Who("master", "-"), Who("master", "50%(x)s"))

    assert lines == [("ERROR", "50%(x)s", str(pid), "loud")]
