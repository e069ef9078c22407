"""A master that starts as root and whose workers become nobody: what that user must be able to reach, it can.

The interpreter, or the tests, may lie below a directory that only root may enter, as /root. The master then starts in a
mount namespace of its own, in which that directory is another that everybody may enter, with nothing else in it.
It must not know the product.
"""

import ctypes
import os
import sys
from pathlib import Path

from tests.end_to_end.harness import ROOT

NOBODY = 65534
_CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000


def open_the_way() -> None:
    """In the master's process, before its program: let everybody reach the interpreter and the tests."""
    needed = {Path(sys.prefix), Path(sys.base_prefix), ROOT}
    barred: dict[Path, list[Path]] = {}
    for path in needed:
        for above in reversed(path.parents):
            if not above.stat().st_mode & 0o001:
                barred.setdefault(above, []).append(path)
                break
    if barred:
        _libc("unshare", _CLONE_NEWNS)
        _libc("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    for above, paths in barred.items():
        _replace(above, paths)


def _replace(directory: Path, keep: list[Path]) -> None:
    """By one that is empty but for ``keep``."""
    held = {path: os.open(path, os.O_PATH) for path in keep}
    _libc("mount", b"none", os.fsencode(directory), b"tmpfs", 0, b"mode=755")
    for path, fd in held.items():
        path.mkdir(parents=True, exist_ok=True)
        _libc("mount", f"/proc/self/fd/{fd}".encode(), os.fsencode(path), None, _MS_BIND | _MS_REC, None)
        os.close(fd)


def _libc(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
