"""Files that are written together: all of them, or none.

It must not know what is in them.
Invariant: after an error everything is as before: no file, no directory is left or gone.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping

from prefork.errors import UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_ELSEWHERE = "give --directory a place that this user may write"


def write_all(contents: Mapping[str, str], replaces: bool) -> None:
    """:param contents: by path; directories are made.
    :param replaces: a file that is there.
    :raises UsageError: one of them is there, or cannot be written; nothing was.
    """
    there = [path for path in contents if os.path.lexists(path)]
    if there and not replaces:
        verb = "exists" if len(there) == 1 else "exist"
        remedy = "give --force to replace what is there, or --directory for another place"
        raise UsageError(f"{', '.join(there)} {verb}, and nothing was written; {remedy}")
    with contextlib.ExitStack() as at_last, contextlib.ExitStack() as undo:
        for path, text in contents.items():
            try:
                _make_directory(os.path.dirname(path), undo)
                _move_away(path, undo, at_last)
                _write(path, text, undo)
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                remedy = "make room there, or give --directory another place" if error.errno in _FULL else _ELSEWHERE
                raise UsageError(f"cannot write {path}: {why}; nothing was written; {remedy}") from None
        undo.pop_all()


def _make_directory(path: str, undo: contextlib.ExitStack) -> None:
    """With all above it that are missing."""
    for directory in reversed(list(_missing(path))):
        os.mkdir(directory)
        undo.callback(os.rmdir, directory)


def _missing(path: str) -> Iterator[str]:
    while path and not os.path.isdir(path):
        if os.path.lexists(path):
            raise NotADirectoryError(errno.ENOTDIR, f"{path} is no directory", path)
        yield path
        path = os.path.dirname(path)


def _move_away(path: str, undo: contextlib.ExitStack, at_last: contextlib.ExitStack) -> None:
    """What is there stays at hand until all are written."""
    if not os.path.lexists(path):
        return
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    before = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.before-{os.getpid()}")
    os.rename(path, before)
    at_last.callback(_remove, before)
    undo.callback(os.rename, before, path)


def _write(path: str, text: str, undo: contextlib.ExitStack) -> None:
    with open(path, "x", encoding="utf-8") as file:
        undo.callback(_remove, path)
        file.write(text)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
