"""Privileges: what a process may, who it is, and how it gives that up for good.

It must not know workers. Order matters: what needs a privilege comes before the privilege is lost, and the user last of
all, for no other call works after it; setgroups(2), setresgid(2), setresuid(2), capabilities(7).
Invariant: after ``become`` neither the user nor the group of before can be taken again, or it has raised.
Read next: ``prefork/worker/privileges.py``, who calls this when.
"""

import ctypes
import os
import resource
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

KILL, SETGID, SETUID, SYS_CHROOT, SYS_NICE, SYS_RESOURCE = 5, 6, 7, 18, 23, 24  # linux/capability.h
_VERSION_3 = 0x20080522  # of capget(2): two words of each set
_PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS = 8, 38  # linux/prctl.h
LIMITS = {
    name[7:].lower(): getattr(resource, name)
    for name in dir(resource)
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"  # an old name of nofile
}
UNLIMITED = resource.RLIM_INFINITY


class Privileges(NamedTuple):
    """What the processes of a service get, and what they give up. -1, empty and ``None`` leave it as it is.

    :param groups: all supplementary groups.
    :param login: the user's name, and ``home`` its directory, for the environment.
    :param umask: permission bits that new files never get.
    :param chroot: the directory that becomes their root.
    :param rlimits: soft and hard limit by name, -1 is none, see ``LIMITS``.
    :param nice: from -20 to 19.
    :param cpus: sets of CPUs, slot 1 gets the first, and after the last the first again.
    """

    uid: int = -1
    gid: int = -1
    groups: Sequence[int] = []
    login: str = ""
    home: str = ""
    umask: int = -1
    chroot: str = ""
    rlimits: Mapping[str, Sequence[int]] = {}
    no_new_privs: bool = False
    nice: int | None = None
    cpus: Sequence[Sequence[int]] = []


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Word(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def holds(*capabilities: int) -> bool:
    """Whether this process may now do all that these allow."""
    words = (_Word * 2)()
    _call("capget", ctypes.byref(_Header(_VERSION_3, 0)), words)
    effective = words[0].effective | words[1].effective << 32
    return all(effective >> capability & 1 for capability in capabilities)


def become(uid: int, gid: int, groups: Iterable[int], keep: Iterable[int] = ()) -> None:
    """Become this user for good, and make sure of it. Who becomes root keeps what root may.

    :param keep: capabilities that can be raised again by ``raise_again``; nothing else is left.
    :raises OSError: EPERM and the other reasons of setresuid(2).
    :raises RuntimeError: the kernel said yes, and yet something of before is left.
    """
    keep = list(keep)
    if keep:
        _call("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0)
    groups = sorted(set(groups))
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if uid != 0:
        _set_capabilities(permitted=keep)
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3 or sorted(os.getgroups()) != groups:
        raise RuntimeError(f"it is still {os.getresuid()}, {os.getresgid()}, {os.getgroups()}")
    if uid != 0 and _can_become_root():
        raise RuntimeError("it can become root again")


def raise_again(capabilities: Iterable[int]) -> None:
    """Make those effective that ``become`` has kept.

    :raises OSError: EPERM where it has not.
    """
    _set_capabilities(permitted=capabilities, effective=capabilities)


def lose_all() -> None:
    """Lose every capability for good."""
    _set_capabilities()


def _can_become_root() -> bool:
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return False
    return True


def _set_capabilities(permitted: Iterable[int] = (), effective: Iterable[int] = ()) -> None:
    words = (_Word * 2)()
    for capability in permitted:
        words[capability // 32].permitted |= 1 << capability % 32
    for capability in effective:
        words[capability // 32].effective |= 1 << capability % 32
    _call("capset", ctypes.byref(_Header(_VERSION_3, 0)), words)


def gain_no_more() -> None:
    """No program that this process starts, or its children start, gains privileges, prctl(2) PR_SET_NO_NEW_PRIVS."""
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def limit(name: str, soft: int, hard: int) -> None:
    """Set one of ``LIMITS``, getrlimit(2).

    :raises OSError: EPERM where the hard one is above what holds.
    :raises ValueError: the same, as Python tells it.
    """
    resource.setrlimit(LIMITS[name], (soft, hard))


def hard_limit(name: str) -> int:
    """What holds now; -1 is none."""
    return resource.getrlimit(LIMITS[name])[1]


def least_nice() -> int:
    """The lowest nice value that this process may take without a privilege, getrlimit(2) RLIMIT_NICE."""
    return min(os.getpriority(os.PRIO_PROCESS, 0), 20 - resource.getrlimit(resource.RLIMIT_NICE)[0])


def _call(name: str, *arguments: object) -> None:
    """:raises OSError: what the C library's function of that name sets errno to."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
