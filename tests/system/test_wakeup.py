"""Signals become a readable descriptor, and one place waits for all; each promise in a process of its own."""

import os
import signal
import socket
from collections.abc import Hashable

import pytest

from prefork.system.wakeup import Poller, Wakeup, forget_inherited_handlers
from tests.children import Child, Link, is_readable, said_by

FULL = 65536  # bytes a pipe holds, pipe(7)


def wait_for_signals(wakeup: Wakeup) -> list[Hashable]:
    poller = Poller()
    poller.add(wakeup.fileno(), "signals")
    return poller.wait(None)


def test_a_signal_before_the_wait_ends_it_at_once() -> None:
    """What arrives between the last look and the wait is not slept over."""

    def hear(parent: Link) -> tuple[list[Hashable], set[int]]:
        wakeup = Wakeup([signal.SIGUSR1])
        os.kill(os.getpid(), signal.SIGUSR1)
        return wait_for_signals(wakeup), wakeup.read()

    assert said_by(hear) == (["signals"], {signal.SIGUSR1})


def test_a_signal_during_the_wait_ends_it() -> None:
    """A process asleep in its wait is woken by a signal, and knows which."""

    def hear(parent: Link) -> tuple[list[Hashable], set[int]]:
        wakeup = Wakeup([signal.SIGTERM])
        parent.say("going to sleep")
        return wait_for_signals(wakeup), wakeup.read()

    with Child(hear) as child:
        assert child.hear() == "going to sleep"
        child.wait_asleep()
        child.send_signal(signal.SIGTERM)
        assert child.hear() == (["signals"], {signal.SIGTERM})


def test_signals_are_read_once_each_however_often_they_came() -> None:
    """Signals merge into a set of numbers, and reading them takes them."""

    def hear(parent: Link) -> list[set[int]]:
        wakeup = Wakeup([signal.SIGUSR1, signal.SIGHUP])
        for _ in range(100):
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGHUP)
        return [wakeup.read(), wakeup.read()]

    assert said_by(hear) == [{signal.SIGUSR1, signal.SIGHUP}, set()]


def test_a_storm_that_fills_the_pipe_neither_blocks_nor_complains() -> None:
    """Wake-ups beyond what the pipe holds tell nothing new, so nothing is said of them."""

    def hear(parent: Link) -> tuple[set[int], bool]:
        complaints, writer = os.pipe()
        os.dup2(writer, 2)
        wakeup = Wakeup([signal.SIGUSR1])
        for _ in range(FULL + 100):
            signal.raise_signal(signal.SIGUSR1)
        return wakeup.read(), is_readable(complaints)

    assert said_by(hear) == ({signal.SIGUSR1}, False)


def test_both_ends_stay_with_the_process_and_never_block() -> None:
    """No program that we start inherits the wakeup pipe, and an empty one is read at once."""

    def look(parent: Link) -> tuple[bool, bool, set[int]]:
        wakeup = Wakeup([])
        return os.get_inheritable(wakeup.fileno()), os.get_blocking(wakeup.fileno()), wakeup.read()

    assert said_by(look) == (False, False, set())


# Beside others in the same process


def test_only_what_is_heard_is_read_and_others_hear_on() -> None:
    """Who had a wakeup descriptor before gets every number; a signal that somebody else handles is none of ours."""

    def hear(parent: Link) -> tuple[set[int], bytes]:
        reader, writer = os.pipe2(os.O_NONBLOCK)
        signal.set_wakeup_fd(writer)
        signal.signal(signal.SIGUSR2, lambda signum, frame: None)
        wakeup = Wakeup([signal.SIGUSR1])
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR2)
        return wakeup.read(), os.read(reader, 10)

    assert said_by(hear) == ({signal.SIGUSR1}, bytes([signal.SIGUSR1, signal.SIGUSR2]))


def test_what_was_there_before_is_put_back() -> None:
    """Handlers, but for one that was set meanwhile, the wakeup descriptor, and both ends of the pipe."""

    def mine(signum: int, frame: object) -> None:
        pass

    def look(parent: Link) -> tuple[object, bool, bool, bool]:
        _, writer = os.pipe2(os.O_NONBLOCK)
        signal.set_wakeup_fd(writer)
        descriptors = os.listdir("/proc/self/fd")
        wakeup = Wakeup([signal.SIGTERM, signal.SIGHUP])
        signal.signal(signal.SIGHUP, mine)
        wakeup.close()
        return (
            signal.getsignal(signal.SIGTERM),
            signal.getsignal(signal.SIGHUP) is mine,
            signal.set_wakeup_fd(-1) == writer,
            os.listdir("/proc/self/fd") == descriptors,
        )

    assert said_by(look) == (signal.SIG_DFL, True, True, True)


# After a fork


def test_a_child_that_forgot_writes_nothing_into_its_parents_pipe() -> None:
    """A signal to the child is the child's alone."""

    def be_parent(parent: Link) -> set[int]:
        wakeup = Wakeup([signal.SIGUSR1])

        def be_child(parent: Link) -> None:
            forget_inherited_handlers()
            signal.signal(signal.SIGUSR1, lambda signum, frame: None)
            signal.raise_signal(signal.SIGUSR1)

        with Child(be_child) as child:
            child.hear()
        return wakeup.read()

    assert said_by(be_parent) == set()


def test_a_signal_does_its_default_in_a_child_that_forgot() -> None:
    """What the parent heard ends the child again, as it ends a new program."""

    def be_parent(parent: Link) -> int:
        Wakeup([signal.SIGTERM])

        def be_child(parent: Link) -> None:
            forget_inherited_handlers()
            signal.raise_signal(signal.SIGTERM)

        with Child(be_child) as child:
            return child.end()

    assert said_by(be_parent) == -signal.SIGTERM


def test_what_is_ignored_stays_so_in_a_child_that_forgot() -> None:
    """Only handlers are forgotten, for they are the parent's code."""

    def be_child(parent: Link) -> str:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        forget_inherited_handlers()
        signal.raise_signal(signal.SIGHUP)
        return "lives on"

    assert said_by(be_child) == "lives on"


def test_a_reader_that_left_is_an_error_and_no_death_in_a_child_that_forgot() -> None:
    """SIGPIPE stays ignored, as in a new Python: a client that hangs up must not kill who answers it."""

    def write_to_nobody(parent: Link) -> str:
        forget_inherited_handlers()
        reader, writer = os.pipe()
        os.close(reader)
        try:
            os.write(writer, b"anybody?")
        except BrokenPipeError:
            return "BrokenPipeError"
        return "written"

    with Child(write_to_nobody) as child:
        code = child.end()
        assert code == 0, f"ended with {code}"
        assert child.hear() == "BrokenPipeError"


# Waiting


def test_a_wait_names_what_is_readable_by_its_key() -> None:
    """Who waits gets the keys of what has news, and no numbers."""
    poller, (quiet, _), (loud, writer) = Poller(), os.pipe(), os.pipe()
    poller.add(quiet, "quiet")
    poller.add(loud, ("loud", 1))
    os.write(writer, b"news")

    assert poller.wait(None) == [("loud", 1)]


def test_an_end_of_file_is_news() -> None:
    """A writer that is gone makes its reader readable, so that nobody is asked in vain whether it lives."""
    poller, (reader, writer) = Poller(), os.pipe()
    poller.add(reader, "gone")
    os.close(writer)

    assert poller.wait(None) == ["gone"]


@pytest.mark.parametrize("seconds", [0, 0.0, -1.0, 1e-9])
def test_a_deadline_that_has_passed_does_not_wait(seconds: float) -> None:
    """No time left means to look and not to wait."""
    assert Poller().wait(seconds) == []


def test_what_was_removed_is_news_no_more() -> None:
    """After its removal a readable descriptor ends no wait; removing twice is removing once."""
    poller, (reader, writer) = Poller(), os.pipe()
    poller.add(reader, "removed")
    os.write(writer, b"news")

    poller.remove(reader)
    poller.remove(reader)

    assert poller.wait(0) == []


# Heeding


def test_room_is_told_only_where_it_is_heeded() -> None:
    """Who has something to write is told of room; who has not sleeps, and the end of the other side comes anyhow."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poller = Poller()
        poller.add(ours.fileno(), "pair")
        assert poller.wait(0) == []
        poller.heed(ours.fileno(), news=True, room=True)
        assert poller.wait(0) == ["pair"]
        poller.heed(ours.fileno(), news=False, room=False)
        theirs.send(b"news")
        assert poller.wait(0) == []
        theirs.close()
        assert poller.wait(0) == ["pair"]
        poller.close()
