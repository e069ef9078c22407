"""Whose standard error it is, and what becomes of what nobody takes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

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


@pytest.fixture
def full() -> Iterator[IO[bytes]]:
    with open("/dev/full", "wb") as device:
        yield device


@pytest.fixture
def left() -> Iterator[int]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def prefork(*arguments: str, output: IO[bytes] | int, errors: IO[bytes] | int = subprocess.PIPE) -> tuple[int, str]:
    """Its exit code, and what it said on standard error; with buffers, as from a shell."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    argv = [sys.executable, "-m", "prefork", *arguments]
    ended = subprocess.run(argv, stdout=output, stderr=errors, env=environment, timeout=60, check=False)
    return ended.returncode, (ended.stderr or b"").decode()


def test_what_cannot_be_printed_is_one_line(full: IO[bytes]) -> None:
    """No traceback, and no second complaint when the buffers are written again at the end."""
    assert prefork("completion", "bash", output=full) == (
        1,
        "prefork: standard output: nothing can be written to it: no space left on device; "
        "make room there, or send it elsewhere; what was done stays done\n",
    )


def test_a_reader_that_has_read_enough_is_told_nothing(left: int) -> None:
    """As ``prefork status | head -0``."""
    assert prefork("completion", "bash", output=left) == (1, "")


def test_an_error_that_nobody_takes_keeps_its_exit_code(full: IO[bytes]) -> None:
    """Scripts go by it."""
    assert prefork("nothing-such", output=subprocess.DEVNULL, errors=full) == (2, "")


def test_what_a_terminal_has_no_letter_for_is_printed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As its number."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    argv = [sys.executable, "-c", "from prefork.system import stdio; stdio.guard(); print('caf\\xe9 \\udcff')"]
    assert subprocess.run(argv, capture_output=True, timeout=60, check=True).stdout == b"caf\\xe9 \\udcff\n"
