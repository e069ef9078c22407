"""The children of one server, each named by a pidfd, so that their deaths are news and nobody else's are touched.

It must not know what the children do.
Invariant: only children that were added are ever waited for, and each is forgotten once it has ended.
"""

import os
import select

# The parent shares its memory with its children while they live, and each page it writes then is copied. So here is
# little code, which makes no object that nobody needs: pages, not system calls, are what a child costs
_ENDED = os.WEXITED | os.WNOHANG


class Children:
    """A set of child processes whose descriptor is readable when one of them has ended."""

    def __init__(self) -> None:
        self._ends = select.epoll()
        self._pids: dict[int, int] = {}  # by pidfd
        self._nameless: set[int] = set()  # for want of a descriptor: they are asked by pid, now and then

    def __len__(self) -> int:
        return len(self._pids) + len(self._nameless)

    def fileno(self) -> int:
        return self._ends.fileno()

    @property
    def must_be_asked(self) -> bool:
        """Whether some child's end will not make the descriptor readable."""
        return bool(self._nameless)

    def add(self, pid: int) -> None:
        """Name a child that was forked and not waited for."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # EMFILE; or ENOSYS, EPERM in a sandbox
            self._nameless.add(pid)
            return
        self._ends.register(pidfd, select.EPOLLIN)
        self._pids[pidfd] = pid

    def reap(self, seconds: float | None = 0.0) -> set[int]:
        """Collect those that have ended; the first of them may take so long, ``None`` without limit.

        :returns: their pids, also of those that somebody else has collected.
        """
        ended = set()
        for pidfd, _ in self._ends.poll(seconds if self._pids else 0.0):
            try:
                os.waitid(os.P_PIDFD, pidfd, _ENDED)
            except ChildProcessError:  # somebody else was faster, or SIGCHLD is ignored
                pass
            # our copy may not be the last, and a descriptor leaves the set only with its last copy: epoll(7)
            self._ends.unregister(pidfd)
            os.close(pidfd)
            ended.add(self._pids.pop(pidfd))
        ended |= {pid for pid in self._nameless if _has_ended(pid)}
        self._nameless -= ended
        return ended

    def __del__(self) -> None:
        for pidfd in self._pids:
            os.close(pidfd)

    def wait(self) -> set[int]:
        """Collect at least one, however long it takes; none where there is none."""
        if not self._pids and self._nameless:
            pid = self._nameless.pop()
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass
            return {pid}
        return self.reap(None)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return True
