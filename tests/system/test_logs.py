"""Which place the log has, of those that a process is told; one promise a test."""

import os
import socket
from pathlib import Path

import pytest

from prefork.system import logsockets, stdio
from prefork.system.logfile import Log, LogFile
from prefork.system.logs import Logs, open_log
from prefork.system.logsockets import Journal


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Standard error is said to be the journal; this is where that would be reached."""
    status = os.fstat(stdio.ERROR)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    path = str(tmp_path / "socket")
    monkeypatch.setattr(logsockets, "JOURNAL", path)
    return path


def open_closed(logs: Logs) -> Log:
    log = open_log(logs)
    log.close()
    return log


def test_standard_error_that_is_the_journal_is_told_its_own_way(journal: str) -> None:
    """Where the journal is reached; with a file, or another collector, the journal has no part in it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as collector:
        collector.bind(journal)
        assert isinstance(open_closed(Logs()), Journal)
        assert isinstance(open_closed(Logs(file=f"{journal}.log")), LogFile)
        assert not isinstance(open_closed(Logs(to="syslog", syslog="unix:/dev/log")), Journal)


def test_a_journal_that_is_out_of_reach_is_written_lines(journal: str) -> None:
    """To standard error, as if we knew nothing better; who asked for journald waits for it."""
    log = open_closed(Logs())
    assert isinstance(log, LogFile)
    assert log.fileno() == stdio.ERROR
    assert isinstance(open_closed(Logs(to="journald")), Journal)


def test_standard_error_that_is_something_else_is_written_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a parent's was the journal."""
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    assert isinstance(open_closed(Logs()), LogFile)
