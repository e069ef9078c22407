"""A pid file: who runs, for scripts that ask a file; and a lock, so that it is believed only while that one lives.

The lock belongs to the open file, flock(2): it ends with its holder, however that ends, so a file that is left behind
means nothing. It must not know what is run.
Invariant: a file that another process holds is never written, and one that is not ours is never removed.
"""

import contextlib
import errno
import fcntl
import os
import stat


class PidFile:
    """The lock, and in the file our pid, until ``close``.

    :param held: the descriptor that has the lock already, of a file that this process wrote.
    :raises BlockingIOError: another process holds it.
    :raises FileExistsError: there is something else than a pid in it.
    :raises OSError: it cannot be opened or written.
    """

    def __init__(self, path: str, held: int | None = None) -> None:
        self.path = os.path.abspath(path)
        self._fd = _open_locked(self.path) if held is None else held
        if held is not None:
            return
        try:
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            if os.read(self._fd, 32).strip(b"0123456789 \n"):
                raise FileExistsError
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        except OSError:
            os.close(self._fd)
            raise

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """Remove the file, if it is still ours, and let the lock go."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(self.path), os.fstat(self._fd)):
                os.unlink(self.path)
        os.close(self._fd)


def _open_locked(path: str) -> int:
    while True:
        # a named pipe is not waited for
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):  # else its holder has removed it meanwhile: there is a new one
                if os.path.samestat(os.stat(path), os.fstat(fd)):
                    return fd
        except OSError:
            os.close(fd)
            raise
        os.close(fd)
