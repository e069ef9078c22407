"""Whose standard error it is."""

import os

import pytest

from prefork.system import stdio


def test_what_goes_to_the_journal_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what systemd says it is; a pipe that has taken its place, or a closed one, is not the journal."""
    reader, writer = os.pipe()
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    assert not stdio.is_journal(writer)
    status = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    assert stdio.is_journal(writer)
    os.dup2(os.open(os.devnull, os.O_WRONLY), writer)
    assert not stdio.is_journal(writer)
    for fd in (reader, writer):
        os.close(fd)
    assert not stdio.is_journal(writer)
