"""Processes: starting one by exec, forking one twice, naming one by pidfd, reaping one by pid.

It must not know what the processes are for.
Invariant: nothing here waits for a process that it was not given, and nothing here blocks but ``wait``.
"""

import ctypes
import os
import signal
from collections.abc import Iterable, Mapping
from typing import NamedTuple, NoReturn

from prefork.system import limits

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


class Ending(NamedTuple):
    """How a process ended: by ``exit(code)`` or by a signal; the other is ``None``.

    :ivar starved: what says that the kernel killed it for want of memory, where it did.
    """

    code: int | None = None
    signal: int | None = None
    starved: str = ""

    def __str__(self) -> str:
        if self.signal is not None:
            why = f" for want of memory ({self.starved})" if self.starved else ""
            return f"was killed by {_signal_name(self.signal)}{why}"
        return "is gone" if self.code is None else f"exited with {self.code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def become_subreaper() -> bool:
    """Adopt the orphans of our descendants, prctl(2). False where the kernel has no such call."""
    libc = ctypes.CDLL(None, use_errno=True)
    return hasattr(libc, "prctl") and libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def spawn(argv: list[str], env: Mapping[str, str], keep: Iterable[int], output: int | None = None) -> int:
    """Start a fresh program in a process group of its own, its standard input from the null device.

    It inherits standard output and error and, under the same numbers, the descriptors in ``keep``; no other of ours
    survives the exec. All signals arrive there as in a new program.

    :param output: becomes its standard output and error; ``None`` leaves it ours.
    :raises OSError: EAGAIN where the machine allows no more processes, ENOENT where the program is missing.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        # dup2 of a descriptor onto itself clears FD_CLOEXEC in the child alone: posix_spawn(3p), glibc since 2.29
        actions = [(os.POSIX_SPAWN_DUP2, null, 0)] + [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in keep]
        actions += [] if output is None else [(os.POSIX_SPAWN_DUP2, output, fd) for fd in (1, 2)]
        return os.posix_spawn(
            argv[0],
            argv,
            env,
            file_actions=actions,
            setpgroup=0,
            setsigmask=(),
            setsigdef=[s for s in signal.valid_signals() if s not in (signal.SIGKILL, signal.SIGSTOP)],
        )
    finally:
        os.close(null)


def launch(argv: list[str], env: Mapping[str, str], output: int, descriptors: int) -> int:
    """Start a program that is killed when we end, in a process group of its own, its input from the null device.

    What it starts itself is not killed with it. For a process with one thread: the kernel counts the end of the thread
    that forked, prctl(2) PR_SET_PDEATHSIG.

    :param argv: its full path first. Where that cannot be run, ``output`` says why and the exit code is 127.
    :param output: becomes its standard output and error; no other descriptor of ours does it get.
    :param descriptors: its soft limit of open ones.
    :raises OSError: EAGAIN or ENOMEM where the machine allows no more processes.
    """
    libc, parent = ctypes.CDLL(None), os.getpid()
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            try:
                os.setpgid(0, 0)
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() == parent:  # else it was gone before we asked
                    _become(argv, env, null, output, descriptors)
            except OSError as error:
                os.write(output, f"cannot run {argv[0]}: {error.strerror}\n".encode(errors="backslashreplace"))
            finally:
                os._exit(127)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(null)


def _become(argv: list[str], env: Mapping[str, str], null: int, output: int, descriptors: int) -> NoReturn:
    """In the child: all signals as in a new program, then exec.

    :raises OSError: it cannot be run.
    """
    for number, fd in enumerate((null, output, output)):
        os.dup2(fd, number)
    limits.limit_descriptors(descriptors)
    for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execve(argv[0], argv, env)


def open_pidfd(pid: int) -> int | None:
    """A descriptor that names this process and becomes readable when it ends; ``None`` if it is no more."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def started(pid: int) -> int:
    """When the process started, in clock ticks since boot, proc(5); 0 if it is no more, or where /proc is missing."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except OSError:
        return 0


def is_stopped(pid: int) -> bool:
    """Whether a signal or a debugger has stopped the process, proc(5). False if it is no more, or /proc is missing."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except OSError:
        return False


def tell(pidfd: int, signum: int) -> bool:
    """Send a signal to exactly this process. False if it is no more, which is news and not an error."""
    try:
        signal.pidfd_send_signal(pidfd, signum)
    except ProcessLookupError:
        return False
    return True


def kill_group(pidfd: int, pid: int) -> None:
    """Kill our child and all that is in the process group it leads, if it has made one by now.

    :param pidfd: of a child that we have not reaped, so that its pid, and the group of that number, is nobody else's.
    """
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it leads no group yet
    tell(pidfd, signal.SIGKILL)


def is_group_orphaned(pid: int) -> bool:
    """Whether processes live on in the group of a leader that is gone.

    As long as one does, the kernel gives that number to nobody else: a process that has it says that none does.
    """
    try:
        os.killpg(pid, 0)
    except OSError:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # somebody else's
    return False


def kill_orphaned_group(pid: int) -> bool:
    """Kill what lives on in the group of a leader that is gone. False if nothing does."""
    if not is_group_orphaned(pid):
        return False
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def reap(pidfd: int) -> Ending | None:
    """Collect the end of our child named by ``pidfd``.

    :returns: how it ended, or ``None`` while it lives.
    :raises ChildProcessError: it has ended, but the process between it and us still lives, so it is not our child yet.
    """
    return _exit(os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG))


def wait(pid: int) -> Ending:
    """Wait for the end of our child ``pid`` and collect it."""
    try:
        return _exit(os.waitid(os.P_PID, pid, os.WEXITED)) or Ending()
    except ChildProcessError:  # somebody else was faster
        return Ending()


def reap_pid(pid: int) -> Ending | None:
    """Collect the end of our child ``pid``; ``None`` while it lives or where it is not ours."""
    try:
        return _exit(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG))
    except ChildProcessError:
        return None


def peek_dead_child() -> int | None:
    """The pid of some ended child that nobody has collected yet, left uncollected; ``None`` if there is none."""
    try:
        result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return result.si_pid if result else None


def _exit(result: os.waitid_result | None) -> Ending | None:
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return Ending(code=result.si_status)
    return Ending(signal=result.si_status)
