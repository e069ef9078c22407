"""Scratch directories: the place of a subject's log and socket, which nobody finds any more when the subject is gone.

Whoever is killed cannot take his away, so the next one who makes one does: where the process that the name tells is
gone, and nobody holds the lock of the file ``maker`` in it, flock(2), as he does also where his pid cannot be seen.
It must not know what is in them. Invariant: none is taken away whose maker lives.
"""

import contextlib
import fcntl
import glob
import os
import re
import shutil
import tempfile

from prefork.binds import UNIX_PATH_MAX

_NAME = re.compile(r"prefork-lab-(\d+)-\w+")
_MAKER = "maker"
_LONGEST = "/prefork-lab-4194304-12345678/socket"  # of the pids that there may be, proc_sys_kernel(5)


class Scratch:
    """:ivar name: its path."""

    def __init__(self) -> None:
        base = _base()
        sweep(base)
        self._directory = tempfile.TemporaryDirectory(prefix=f"prefork-lab-{os.getpid()}-", dir=base)
        self.name = self._directory.name
        self._fd = os.open(os.path.join(self.name, _MAKER), os.O_RDONLY | os.O_CREAT)
        _lock(self._fd)

    def cleanup(self) -> None:
        """Again is nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._directory.cleanup()


def sweep(base: str) -> None:
    """Take away those that were left there."""
    for path in glob.glob(os.path.join(glob.escape(base), "prefork-lab-*")):
        found = _NAME.fullmatch(os.path.basename(path))
        if found is not None and not os.path.exists(f"/proc/{found[1]}"):
            with contextlib.suppress(OSError):  # somebody else's, or gone meanwhile
                _remove(path)


def _remove(path: str) -> None:
    if os.path.islink(path):
        return
    fd = os.open(os.path.join(path, _MAKER), os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if os.fstat(fd).st_uid == os.geteuid() and _lock(fd):
            shutil.rmtree(path)
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    """Whether it is ours now; some file systems have no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _base() -> str:
    """Where users have theirs, unless a socket in it would have too long a name, unix(7)."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) + len(_LONGEST) <= UNIX_PATH_MAX else "/tmp"
