"""The master believes that a log was moved away when it sees it, and opens it anew for all; one promise a test."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from prefork.master import logs
from prefork.master.logs import Held, LogFiles
from prefork.system import logfeed
from prefork.system.logfile import LogFile


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [100.0]
    monkeypatch.setattr(logs, "now", lambda: clock[0])
    return clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access"


@pytest.fixture
def files(tmp_path: Path, path: Path, clock: list[float]) -> Iterator[LogFiles]:
    with closing(LogFiles(Held(LogFile(str(tmp_path / "log"))), Held(LogFile(str(path))))) as files:
        yield files


def test_nobody_is_believed_who_says_so(files: LogFiles) -> None:
    """The file is where it was."""
    files.suspect()
    assert files.has_suspicion
    assert not files.have_moved()
    assert not files.has_suspicion


def test_what_has_moved_is_opened_anew_and_fed(files: LogFiles, path: Path) -> None:
    """Whoever takes it from the feed writes to the new file."""
    assert files.access is not None
    moved = path.rename(path.with_suffix(".1"))
    assert not files.have_moved()  # nobody has said so yet
    files.suspect()
    assert files.have_moved()
    files.reopen()
    fd = logfeed.take(files.access.feed.fileno())
    os.write(fd, b"new\n")
    os.close(fd)
    assert (path.read_text(), moved.read_text()) == ("new\n", "")


def test_it_is_looked_at_once_in_a_while(files: LogFiles, path: Path, clock: list[float]) -> None:
    """However many say so; and rarely once it cannot be opened."""
    path.rename(path.with_suffix(".1"))
    files.suspect()
    assert files.have_moved()
    files.suspect()
    assert not files.have_moved()
    path.mkdir()
    clock[0] += logs.AGAIN
    files.suspect()
    assert files.have_moved()
    files.reopen()
    clock[0] += logs.AGAIN
    files.suspect()
    assert not files.have_moved()
    path.rmdir()
    clock[0] += logs.RETRY
    files.suspect()
    assert files.have_moved()
