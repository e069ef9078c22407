"""What a program that a process becomes finds: what was left to it, and nothing else."""

import errno
import json
import os
import signal
import sys

import pytest

from prefork.system import handover
from tests.children import Child, Link, said_by

NEXT = """
import json, os, signal, sys
from prefork.system import handover
note, teller = map(int, sys.argv[1:])
def is_open(fd):
    try: os.fstat(fd)
    except OSError: return False
    return True
told = json.loads(handover.read(note))
found = [os.getpid(), told["text"], [is_open(fd) for fd in told["descriptors"]], sorted(signal.sigpending())]
handover.take_back([note])
os.write(teller, json.dumps([*found, os.get_inheritable(note)]).encode())
"""


def become_next(parent: Link, reader: int, teller: int) -> None:
    """In a child: become another program with a signal pending, and leave it one descriptor of two."""
    note = handover.create_note()
    left, other = os.pipe2(os.O_CLOEXEC)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.kill(os.getpid(), signal.SIGTERM)
    handover.write(note, b"something longer that was written before" * 100)
    handover.write(note, json.dumps({"text": "é" * 10_000, "descriptors": [left, other, reader]}).encode())
    argv = [sys.executable, "-c", NEXT, str(note), str(teller)]
    handover.become(argv, os.environ, [note, left, teller])


def test_the_next_program_finds_what_was_left_to_it() -> None:
    """The same pid, the note as it was written last, the named descriptors alone, and the signals that wait."""
    reader, teller = os.pipe2(os.O_CLOEXEC)
    with Child(lambda parent: become_next(parent, reader, teller)) as child:
        os.close(teller)
        with open(reader, "rb") as answer:
            found = json.loads(answer.read())
        assert found == [child.pid, "é" * 10_000, [True, False, False], [signal.SIGTERM], False]


def fail_to_become() -> list[object]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_inheritable(writer, True)
    try:
        handover.become(["/no/such/program"], os.environ, [reader, writer])
    except FileNotFoundError:
        return [os.get_inheritable(reader), os.get_inheritable(writer)]


def test_an_exec_that_fails_changes_nothing() -> None:
    """What programs do not inherit they still do not, and the other way round."""
    assert said_by(lambda parent: fail_to_become()) == [False, True]


def test_who_reads_the_note_cannot_change_it() -> None:
    note = handover.create_note()
    handover.write(note, b"as it is")
    copy = handover.open_to_read(note)
    with pytest.raises(OSError) as caught:
        os.pwrite(copy, b"changed", 0)
    assert caught.value.errno == errno.EBADF
    assert handover.read(copy) == b"as it is"
    os.close(copy)
    os.close(note)
