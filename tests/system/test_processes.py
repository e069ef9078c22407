"""Starting, naming, signalling and reaping real processes; one promise a test."""

import errno
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from prefork.system import processes
from prefork.system.processes import Ending
from tests.children import Child, Link, become_nobody, descriptors, said_by, wait_readable

CAT = shutil.which("cat") or "/bin/cat"
ENV = shutil.which("env") or "/usr/bin/env"

# what it inherited, told through the descriptor of its first argument
TELL_DESCRIPTORS = """
import json, os, sys
found = {}
for number in os.listdir("/proc/self/fd"):
    try:
        found[number] = os.readlink("/proc/self/fd/" + number)
    except FileNotFoundError:
        pass
os.write(int(sys.argv[1]), json.dumps(found).encode())
"""


def read_all(fd: int) -> bytes:
    told = b""
    while True:
        wait_readable(fd)
        piece = os.read(fd, 65536)
        if not piece:
            os.close(fd)
            return told
        told += piece


def inheritable() -> set[int]:
    """What an exec would hand over anyway, because whoever started the tests has left it open."""
    numbers = {int(entry.split()[0]) for entry in descriptors()}
    return {number for number in numbers - {0, 1, 2} if os.get_inheritable(number)}


def output_of(argv: list[str], env: dict[str, str]) -> str:
    """What a spawned program writes to its standard output. Called in a child, whose own output it takes."""
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(writer)
    processes.spawn(argv, env, [])
    os.close(1)
    return read_all(reader).decode()


def status_of_a_spawned_program() -> dict[str, str]:
    lines = output_of([CAT, "/proc/self/status"], {}).splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def changed(mask: str) -> set[signal.Signals]:
    """The signals in a mask of /proc/PID/status, without those the C library keeps for itself."""
    return {signum for signum in signal.valid_signals() if int(mask, 16) >> (signum - 1) & 1}


@contextmanager
def a_child_that_exits(code: int) -> Iterator[tuple[int, int]]:
    """An ended child nobody has collected: its pid and its pidfd."""
    pid = os.fork()
    if pid == 0:
        os._exit(code)
    pidfd = os.pidfd_open(pid)
    wait_readable(pidfd)
    try:
        yield pid, pidfd
    finally:
        os.close(pidfd)


# Starting


def told_by_a_spawned_program() -> tuple[dict[str, str], int, int]:
    """Spawn with two kept descriptors beside two of ours: all the program holds, and the numbers of the kept."""
    reader, writer = os.pipe()
    kept = os.open("/dev/zero", os.O_RDONLY)
    ours = os.open("/dev/full", os.O_RDONLY), os.memfd_create("ours")
    argv = [sys.executable, "-I", "-S", "-c", TELL_DESCRIPTORS, str(writer)]
    try:
        pid = processes.spawn(argv, {}, [writer, kept])
    finally:
        for fd in (writer, kept, *ours):
            os.close(fd)
    told = json.loads(read_all(reader))
    os.waitpid(pid, 0)
    return told, writer, kept


def test_a_spawned_program_holds_the_kept_descriptors_and_nothing_else_of_ours() -> None:
    """Exactly the kept descriptors cross the exec, under their own numbers, beside the three standard ones."""
    told, writer, kept = told_by_a_spawned_program()

    assert told[str(kept)] == "/dev/zero"
    assert {int(number) for number in told} == {0, 1, 2, writer, kept} | inheritable()


def test_a_spawned_program_reads_nothing_from_its_standard_input() -> None:
    """Standard input is the null device."""
    told, _, _ = told_by_a_spawned_program()

    assert told["0"] == "/dev/null"


def test_a_program_is_spawned_the_same_where_our_standard_input_is_closed() -> None:
    """A service manager that closed our standard input changes nothing for whom we start."""

    def spawn_without_stdin(parent: Link) -> dict[str, str]:
        os.close(0)
        return told_by_a_spawned_program()[0]

    assert said_by(spawn_without_stdin)["0"] == "/dev/null"


def test_what_was_kept_stays_ours_and_private() -> None:
    """Handing a descriptor over does not make it inheritable for the next program."""
    reader, writer = os.pipe()
    try:
        pid = processes.spawn([CAT], {}, [writer])
        os.waitpid(pid, 0)
        assert not os.get_inheritable(writer)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_spawned_program_leads_a_process_group_of_its_own() -> None:
    """A signal of the terminal to our group does not reach it."""
    status = said_by(lambda parent: status_of_a_spawned_program())

    assert status["NSpgid"] == status["NSpid"]


def test_signals_arrive_in_a_spawned_program_as_in_a_new_one() -> None:
    """Its signal mask is empty and every disposition is the default, whatever ours are."""

    def spawn_with_signals_changed(parent: Link) -> dict[str, str]:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
        for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR2, signal.SIGRTMIN, signal.SIGRTMAX):
            signal.signal(signum, signal.SIG_IGN)
        return status_of_a_spawned_program()

    status = said_by(spawn_with_signals_changed)

    assert [changed(status[name]) for name in ("SigBlk", "SigIgn", "SigCgt")] == [set(), set(), set()]


def test_a_spawned_program_has_the_given_environment_and_no_other() -> None:
    """The environment is the argument, not ours."""
    assert said_by(lambda parent: output_of([ENV], {"NAME": "shop"})) == "NAME=shop\n"


def test_a_missing_program_is_an_error_that_leaves_nothing_open() -> None:
    """ENOENT is told to who asked, and no descriptor is lost by it."""
    before = descriptors()

    with pytest.raises(FileNotFoundError):
        processes.spawn(["/nowhere/to/be/found"], {}, [])

    assert not descriptors() - before


def test_a_machine_without_room_for_a_process_is_an_error() -> None:
    """EAGAIN is told to who asked."""

    def spawn_at_the_limit(parent: Link) -> str:
        become_nobody()
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        try:
            processes.spawn([CAT], {}, [])
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "started"

    assert said_by(spawn_at_the_limit) == "EAGAIN"


# Ends


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (Ending(code=0), "exited with 0"),
        (Ending(code=3), "exited with 3"),
        (Ending(signal=signal.SIGKILL), "was killed by SIGKILL"),
        (Ending(signal=signal.SIGRTMIN + 1), f"was killed by signal {signal.SIGRTMIN + 1}"),
        (Ending(), "is gone"),
    ],
)
def test_an_end_reads_as_half_a_sentence(end: Ending, text: str) -> None:
    """The log says how a process ended in words."""
    assert str(end) == text


def test_a_living_child_is_not_reaped() -> None:
    """Asking for the end of a living child says that there is none yet, and does not wait."""
    with Child(lambda parent: parent.hear()) as child:
        pidfd = os.pidfd_open(child.pid)
        assert (processes.reap(pidfd), processes.reap_pid(child.pid)) == (None, None)
        os.close(pidfd)


@pytest.mark.parametrize("code", [0, 3, 255])
def test_a_child_that_exited_is_reaped_once_with_its_code(code: int) -> None:
    """The first to ask collects the exit code, and nothing is left for a second."""
    with a_child_that_exits(code) as (pid, pidfd):
        assert processes.reap(pidfd) == Ending(code=code)
        with pytest.raises(ChildProcessError):
            processes.reap(pidfd)
        assert processes.reap_pid(pid) is None


def test_a_child_that_was_killed_is_reaped_with_its_signal() -> None:
    """A death by signal is told as that signal."""
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    pidfd = os.pidfd_open(pid)

    assert processes.tell(pidfd, signal.SIGKILL) is True
    wait_readable(pidfd)
    assert processes.reap(pidfd) == Ending(signal=signal.SIGKILL)

    os.close(pidfd)


def test_a_child_is_reaped_by_its_number() -> None:
    """Who has only a pid collects by that."""
    with a_child_that_exits(4) as (pid, _):
        assert processes.reap_pid(pid) == Ending(code=4)


def test_a_stranger_is_not_reaped() -> None:
    """Somebody else's process is none of ours, which is no error."""
    assert processes.reap_pid(os.getppid()) is None


def fork_twice() -> tuple[int, int, int]:
    """A grandchild that lives as long as we do, and between us a child that waits for the pipe: both, and the pipe."""
    born, tells_born = os.pipe()
    leave, may_leave = os.pipe()
    stay, ours = os.pipe()
    between = os.fork()
    if between == 0:
        os.close(ours)
        os.close(may_leave)
        pid = os.fork()
        if pid == 0:
            os.read(stay, 1)
            os._exit(0)
        os.write(tells_born, pid.to_bytes(4, "little"))
        os.read(leave, 1)
        os._exit(0)
    wait_readable(born)
    return between, int.from_bytes(os.read(born, 4), "little"), may_leave


def reap_before_and_after_adoption(parent: Link) -> list[object]:
    assert processes.become_subreaper()
    between, grandchild, may_leave = fork_twice()
    pidfd = processes.open_pidfd(grandchild)
    assert pidfd is not None
    processes.tell(pidfd, signal.SIGKILL)
    wait_readable(pidfd)
    said: list[object] = []
    try:
        said.append(processes.reap(pidfd))
    except ChildProcessError:
        said.append("not ours yet")
    os.close(may_leave)
    os.waitpid(between, 0)
    said += [processes.reap(pidfd), processes.peek_dead_child()]
    return said


def test_a_dead_grandchild_can_be_reaped_only_once_the_process_between_is_gone() -> None:
    """A readable pidfd with ECHILD means the process between still lives; after its end the dead one is ours."""
    assert said_by(reap_before_and_after_adoption) == ["not ours yet", Ending(signal=signal.SIGKILL), None]


def adopt(parent: Link) -> bool:
    is_subreaper = processes.become_subreaper()
    between, grandchild, may_leave = fork_twice()
    os.close(may_leave)
    os.waitpid(between, 0)
    with open(f"/proc/{grandchild}/stat") as stat:
        is_ours = int(stat.read().rpartition(")")[2].split()[1]) == os.getpid()
    os.kill(grandchild, signal.SIGKILL)
    os.waitpid(grandchild, 0)
    return is_subreaper and is_ours


def test_a_subreaper_adopts_the_orphans_of_its_children() -> None:
    """When the process between ends, its child becomes ours, and nobody else's."""
    assert said_by(adopt)


# Looking without taking


def test_an_ended_child_that_was_looked_at_is_still_there_to_reap() -> None:
    """Peeking names the dead child as often as it is asked and leaves its end to who knows it."""

    def peek(parent: Link) -> list[object]:
        with a_child_that_exits(5) as (pid, _):
            peeked = processes.peek_dead_child(), processes.peek_dead_child()
            return [peeked == (pid, pid), processes.reap_pid(pid), processes.peek_dead_child()]

    assert said_by(peek) == [True, Ending(code=5), None]


def test_a_living_child_is_not_seen_among_the_dead() -> None:
    """With children that all live there is nobody to name."""

    def peek(parent: Link) -> int | None:
        with Child(lambda parent: parent.hear()):
            return processes.peek_dead_child()

    assert said_by(peek) is None


# Signals


def test_telling_the_dead_is_news_and_no_error() -> None:
    """A signal to a process that was collected is answered with False, by its pidfd as by a new one."""
    with a_child_that_exits(0) as (pid, pidfd):
        os.waitpid(pid, 0)
        assert processes.tell(pidfd, signal.SIGTERM) is False
        assert processes.open_pidfd(pid) is None


def test_a_process_that_ended_and_waits_to_be_reaped_can_still_be_named() -> None:
    """Between its end and its reaping a process has a pidfd, readable at once."""
    with a_child_that_exits(0) as (pid, _):
        pidfd = processes.open_pidfd(pid)
        assert pidfd is not None
        wait_readable(pidfd)
        os.close(pidfd)
        os.waitpid(pid, 0)


def test_a_process_is_told_from_a_later_one_of_its_number_by_its_start() -> None:
    """The start is the same as long as the process lives, and 0 once it is gone."""
    with a_child_that_exits(0) as (pid, _):
        assert processes.started(pid) == processes.started(pid) >= processes.started(os.getpid()) > 0
        os.waitpid(pid, 0)
        assert processes.started(pid) == 0


def launch(script: str, descriptors: int = 100) -> tuple[int, int]:
    """A shell that runs ``script``: its pid, and the end to read what it prints."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = processes.launch(["/bin/sh", "-c", script], {"WORD": "hello"}, writer, descriptors)
    os.close(writer)
    return pid, reader


THREADS_OWN = 0b11 << 31  # signals 32 and 33 are the C library's own, which gives nobody's back, nptl(7)


def test_a_launched_program_has_our_output_and_nothing_else_of_ours() -> None:
    """Its environment, limit, group and input are what it was given, and its signals those of a new program."""
    before = descriptors()
    script = "echo $WORD; ulimit -n; read line || echo no input; ls /proc/$$/fd; grep SigIgn /proc/$$/status; exit 7"
    pid, reader = launch(script)
    assert os.getpgid(pid) in (pid, os.getpgrp())
    word, limit, said, *numbers, ignored = read_all(reader).decode().split("\n")[:-1]
    assert (word, limit, said) == ("hello", "100", "no input")
    assert set(map(int, numbers)) - inheritable() <= {0, 1, 2, 10}  # a shell's own beside those three
    assert int(ignored.split()[1], 16) & ~THREADS_OWN == 0
    assert processes.wait(pid) == Ending(code=7)
    assert not descriptors() - before


def test_what_cannot_be_run_says_why_where_it_would_have_printed() -> None:
    """And ends with the exit code of a shell that finds no program."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = processes.launch(["/nowhere/program"], {}, writer, 100)
    os.close(writer)
    assert read_all(reader) == b"cannot run /nowhere/program: No such file or directory\n"
    assert processes.wait(pid) == Ending(code=127)


def test_a_launched_program_ends_with_us() -> None:
    """Killed by the kernel, however we end."""
    reader, writer = os.pipe2(os.O_CLOEXEC)

    def launch_and_wait(parent: Link) -> None:
        processes.launch(["/bin/sh", "-c", "echo started; exec sleep 1000"], os.environ, writer, 100)
        parent.hear()

    with Child(launch_and_wait):
        os.close(writer)
        wait_readable(reader)
    assert read_all(reader) == b"started\n"


# what outlives its leader


def test_a_group_without_its_leader_is_known_and_killed() -> None:
    """As long as one of its processes lives, dead or alive by now the number is nobody else's."""
    reader, writer = os.pipe()
    leader = os.fork()
    if leader == 0:
        os.setpgid(0, 0)
        if os.fork() == 0:
            os.close(reader)
            os.write(writer, b"!")
            signal.pause()
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"!"
    assert not processes.is_group_orphaned(leader), "its leader is a zombie still"
    assert processes.wait(leader) == processes.Ending(code=0)
    assert processes.is_group_orphaned(leader)
    assert processes.kill_orphaned_group(leader)
    assert os.read(reader, 1) == b"", "the end of the last process that held it"


def test_a_group_that_is_no_more_or_never_was_is_no_orphan() -> None:
    """Nor is one whose leader lives."""

    def lead(parent: Link) -> None:
        os.setpgid(0, 0)
        parent.say()
        parent.hear()

    with Child(lead) as leader:
        leader.hear()
        assert not processes.is_group_orphaned(leader.pid)
        leader.say()
    child = os.fork()
    if child == 0:
        os._exit(0)
    processes.wait(child)
    assert not processes.is_group_orphaned(child)
    assert not processes.kill_orphaned_group(child)
