"""The end of a pipe's last writer reaches every process that armed it, asleep or busy; one promise a test."""

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from prefork.system import lifeline
from tests.children import Child, Link, become_nobody, is_readable


class Pipe:
    """A lifeline whose writing end is this test's alone."""

    def __init__(self) -> None:
        self.reader, self.writer = lifeline.create()
        self._is_cut = False

    def cut(self) -> None:
        if not self._is_cut:
            self._is_cut = True
            os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.cut()
    with contextlib.suppress(OSError):  # who armed it here has closed it
        os.close(pipe.reader)


def arm_and_hear(pipe: Pipe, heard: list[int]) -> int:
    """What a direct child does: close the writing end, then ask for SIGIO."""
    os.close(pipe.writer)
    signal.signal(signal.SIGIO, lambda signum, frame: heard.append(signum))
    return lifeline.arm(pipe.reader)


def sleep_until_cut(pipe: Pipe, parent: Link) -> list[int]:
    heard: list[int] = []
    arm_and_hear(pipe, heard)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
    parent.say("armed")
    signal.sigwait({signal.SIGIO})  # the process sleeps; SIGIO alone ends it
    return [signal.SIGIO]


def spin_until_cut(pipe: Pipe, parent: Link) -> list[int]:
    heard: list[int] = []
    arm_and_hear(pipe, heard)
    parent.say("armed")
    while not heard:
        pass
    return heard


def test_the_end_reaches_a_process_that_sleeps(pipe: Pipe) -> None:
    """One SIGIO when the last writer is gone."""
    with Child(lambda parent: sleep_until_cut(pipe, parent)) as child:
        assert child.hear() == "armed"
        pipe.cut()
        assert child.hear() == [signal.SIGIO]


def test_the_end_reaches_a_process_that_is_busy(pipe: Pipe) -> None:
    """A process that looks at no descriptor hears of the end all the same."""
    with Child(lambda parent: spin_until_cut(pipe, parent)) as child:
        assert child.hear() == "armed"
        pipe.cut()
        assert child.hear() == [signal.SIGIO]


def test_the_end_reaches_a_process_that_has_become_another_user(pipe: Pipe) -> None:
    """It may open the pipe anew to read, and nobody may to write: that would keep the lifeline whole."""

    def spin_as_nobody(parent: Link) -> list[int]:
        become_nobody()
        with pytest.raises(PermissionError):
            os.open(f"/proc/self/fd/{pipe.reader}", os.O_WRONLY | os.O_NONBLOCK)
        return spin_until_cut(pipe, parent)

    with Child(spin_as_nobody) as child:
        assert child.hear() == "armed"
        pipe.cut()
        assert child.hear() == [signal.SIGIO]


def test_every_process_that_armed_the_same_pipe_hears_the_end(pipe: Pipe) -> None:
    """Arming is each process' own: the last one to arm does not take the signal from those before."""
    with ExitStack() as children:
        armed = [children.enter_context(Child(lambda parent: spin_until_cut(pipe, parent))) for _ in range(3)]
        assert [child.hear() for child in armed] == ["armed"] * 3
        pipe.cut()
        assert [child.hear() for child in armed] == [[signal.SIGIO]] * 3


def test_arming_leaves_the_shared_open_file_alone(pipe: Pipe) -> None:
    """Who did not arm gets no signal: neither O_ASYNC nor an owner is set on what a fork shares."""
    with Child(lambda parent: spin_until_cut(pipe, parent)) as child:
        assert child.hear() == "armed"
        assert not fcntl.fcntl(pipe.reader, fcntl.F_GETFL) & os.O_ASYNC
        assert fcntl.fcntl(pipe.reader, fcntl.F_GETOWN) == 0


def test_a_process_without_a_handler_dies_of_the_end(pipe: Pipe) -> None:
    """The default action of SIGIO ends a process that has nothing to finish."""

    def arm_and_wait(parent: Link) -> None:
        os.close(pipe.writer)
        lifeline.arm(pipe.reader)
        parent.say("armed")
        parent.hear()

    with Child(arm_and_wait) as child:
        assert child.hear() == "armed"
        pipe.cut()
        assert child.end() == -signal.SIGIO


def test_arming_closes_what_it_was_given(pipe: Pipe) -> None:
    """The armed descriptor takes the place of the given one, and stays as private and as quick as that."""
    own = lifeline.arm(pipe.reader)
    try:
        assert own == pipe.reader or not os.path.exists(f"/proc/self/fd/{pipe.reader}")
        assert (os.get_inheritable(own), os.get_blocking(own)) == (False, False)
    finally:
        fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK)
        os.close(own)


def test_without_proc_the_given_descriptor_is_what_to_poll(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the pipe cannot be opened anew, arming changes nothing and a poll still tells of the end."""

    def refuse(*args: object) -> int:
        raise FileNotFoundError("no /proc")

    with monkeypatch.context() as without_proc:
        without_proc.setattr(os, "open", refuse)
        assert lifeline.arm(pipe.reader) == pipe.reader

    pipe.cut()
    assert is_readable(pipe.reader)


def test_a_lifeline_is_cut_only_when_its_last_writer_is_gone(pipe: Pipe) -> None:
    """Another holder of the writing end keeps it whole."""
    second = os.dup(pipe.writer)
    pipe.cut()
    assert not lifeline.is_cut(pipe.reader)
    os.close(second)
    assert lifeline.is_cut(pipe.reader)
    assert lifeline.is_cut(pipe.reader)


def test_who_arms_after_the_end_finds_it_cut(pipe: Pipe) -> None:
    """The end is not missed by a process that was born too late for the signal."""

    def arm_late(parent: Link) -> bool:
        os.close(pipe.writer)
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        parent.hear()
        return lifeline.is_cut(lifeline.arm(pipe.reader))

    with Child(arm_late) as child:
        pipe.cut()
        child.say("cut")
        assert child.hear() is True


def test_both_ends_stay_with_the_process_and_never_block(pipe: Pipe) -> None:
    """No program started by exec inherits an end that was not handed over."""
    assert [(os.get_inheritable(fd), os.get_blocking(fd)) for fd in (pipe.reader, pipe.writer)] == [(False, False)] * 2


def sleep_in_c(parent: Link) -> None:
    """Nothing of ours runs in the child, which knows nothing of the pipe."""
    parent.say("here")
    signal.pause()


def test_a_process_that_is_tied_ends_whatever_it_runs(pipe: Pipe) -> None:
    """By the default action of SIGIO; it need not do anything for it but keep the descriptor."""
    own = lifeline.open_anew(pipe.reader)

    def live(parent: Link) -> None:
        os.close(pipe.writer)
        sleep_in_c(parent)

    with Child(live) as child:
        child.hear()
        lifeline.tie(own, child.pid)
        os.close(own)
        child.wait_asleep()
        pipe.cut()
        assert child.end() == -signal.SIGIO
