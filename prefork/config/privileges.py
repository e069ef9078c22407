"""What a service's processes may, and who they are: from settings as people write them to what the kernel is told.

Users and groups become numbers here, once a load of the configuration, for a name may cost a question over the network.
It must not know processes.
Invariant: what passes needs no privilege that this process lacks.
Read next: ``prefork/system/privileges.py``, what is made.
"""

import grp
import os
import pwd
import re
from collections.abc import Mapping
from typing import NamedTuple

from prefork.config.units import parse_bytes
from prefork.system import privileges
from prefork.system.privileges import LIMITS, UNLIMITED, Privileges

UMASK_MAX = 0o777
_SIZES = ("as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack")  # limits that are bytes
_EACH = "each"
_NICEST, _LEAST_NICE = 19, -20
_ALONE = "start as root, or leave it out"
_TAKES = "which takes CAP_SETUID, CAP_SETGID and CAP_KILL"


class _User(NamedTuple):
    uid: int
    name: str = ""
    gid: int | None = None
    home: str = "/"


def settle(
    *,
    user: str,
    group: str,
    umask: str,
    chroot: str,
    rlimits: Mapping[str, int | str],
    no_new_privs: bool,
    nice: int | None,
    cpu_affinity: str,
) -> Privileges:
    """Check what these settings of a service say, and put it into numbers.

    :raises ValueError: one of them makes no sense on this machine, or needs a privilege that we lack. The error begins
        with the name of the setting.
    """
    told = Privileges(
        umask=_read_umask(umask),
        rlimits={name: _read_limit(name, text) for name, text in rlimits.items()},
        no_new_privs=no_new_privs,
        nice=_check_nice(nice),
        cpus=_read_cpus(cpu_affinity, os.sched_getaffinity(0)),
    )
    if user or group:
        told = _identify(told, user, group)
    if chroot:
        told = told._replace(chroot=_check_chroot(chroot, told))
    return told


def _identify(told: Privileges, user: str, group: str) -> Privileges:
    who = _find_user(user) if user else _User(os.geteuid())
    gid = _find_group(group) if group else who.gid
    if gid is None:
        raise ValueError(f"group: user {user} has no entry that would name its group; give one")
    groups = os.getgrouplist(who.name, gid) if who.name else [gid]
    is_allowed = privileges.holds(privileges.SETUID, privileges.SETGID, privileges.KILL)
    if is_allowed:
        home = who.home if user else ""
        return told._replace(uid=who.uid, gid=gid, groups=groups, login=who.name, home=home)
    if who.uid != os.geteuid():
        raise ValueError(f"user: {user!r} is not who we are, and cannot become, {_TAKES}; {_ALONE}")
    if gid != os.getegid():
        name = f"group: {group!r}" if group else f"user: the group of {user!r}"
        raise ValueError(f"{name} is not ours, and we cannot join it, {_TAKES}; {_ALONE}")
    return told  # it is who we are


def _find_user(text: str) -> _User:
    try:
        entry = pwd.getpwuid(int(text)) if text.isdecimal() else pwd.getpwnam(text)
    except (KeyError, OverflowError, ValueError):  # the last of a name with a NUL
        if text.isdecimal() and int(text) < 2**32 - 1:
            return _User(int(text))
        raise ValueError(f"user: there is no user {text!r} on this machine; make it first, or give another") from None
    return _User(entry.pw_uid, entry.pw_name, entry.pw_gid, entry.pw_dir or "/")


def _find_group(text: str) -> int:
    if text.isdecimal() and int(text) < 2**32 - 1:
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        raise ValueError(f"group: there is no group {text!r} on this machine; make it first, or give another") from None


def _read_umask(text: str) -> int:
    if not text:
        return -1
    if not re.fullmatch("0?[0-7]{1,3}", text):
        raise ValueError(f"umask: {text!r} is none; write permission bits to take away, in octal digits, as 027")
    return int(text, 8)


def _read_limit(name: str, value: int | str) -> list[int]:
    if name not in LIMITS:
        raise ValueError(f"rlimits: {name!r} is no limit; there are {', '.join(LIMITS)}")
    soft, _, hard = str(value).partition(":")
    numbers = [_read_amount(name, text, value) for text in (soft, hard or soft)]
    if _exceeds(numbers[0], numbers[1]):
        raise ValueError(f"rlimits: {name} = {value!r} has a soft limit above its hard one; lower the first")
    highest = privileges.hard_limit(name)
    if _exceeds(numbers[1], highest) and not privileges.holds(privileges.SYS_RESOURCE):
        why = f"we are limited to {highest} ourselves, and may not raise that"
        raise ValueError(f"rlimits: {name} = {value!r} is too high: {why}; lower it, or start us with more")
    return numbers


def _read_amount(name: str, text: str, value: int | str) -> int:
    if text == "unlimited":
        return UNLIMITED
    try:
        if name in _SIZES:
            return parse_bytes(text)
        if text.isdecimal():
            return int(text)
    except ValueError:
        pass
    example = "256MiB" if name in _SIZES else "4096"
    what = f"write {example}, {example}:unlimited (soft and hard), or unlimited"
    raise ValueError(f"rlimits: {name} = {value!r} is no limit; {what}")


def _exceeds(limit: int, other: int) -> bool:
    return other != UNLIMITED and (limit == UNLIMITED or limit > other)


def _check_nice(nice: int | None) -> int | None:
    if nice is None:
        return None
    if not _LEAST_NICE <= nice <= _NICEST:
        raise ValueError(f"nice: {nice} is not between {_LEAST_NICE} and {_NICEST}")
    if nice < privileges.least_nice() and not privileges.holds(privileges.SYS_NICE):
        raise ValueError(f"nice: {nice} is below {privileges.least_nice()}, which only root may set; {_ALONE}")
    return nice


def _read_cpus(text: str, usable: set[int]) -> list[list[int]]:
    """:param usable: what this process may use."""
    if text == _EACH:
        return [[cpu] for cpu in sorted(usable)]
    sets = [_read_set(part, text) for part in text.split()]
    beyond = sorted({cpu for cpus in sets for cpu in cpus} - usable)
    if beyond:
        raise ValueError(f"cpu_affinity: CPU {beyond[0]} is not among those we may use, {_name_cpus(usable)}")
    return sets


def _read_set(part: str, text: str) -> list[int]:
    cpus: set[int] = set()
    for piece in part.split(","):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", piece)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            what = f"write {_EACH}, or sets of CPUs with spaces between them, as 0-3 4-7 or 0,2 1,3"
            raise ValueError(f"cpu_affinity: {text!r} names no CPUs; {what}")
        cpus.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sorted(cpus)


def _name_cpus(cpus: set[int]) -> str:
    return ", ".join(map(str, sorted(cpus)))


def _check_chroot(path: str, told: Privileges) -> str:
    if not path.startswith("/") or not os.path.isdir(path):
        raise ValueError(f"chroot: {path!r} is no directory; write one that exists, by its full path")
    if not privileges.holds(privileges.SYS_CHROOT):
        raise ValueError(f"chroot: {path!r} can be made the root only by root; {_ALONE}")
    if told.uid in (-1, 0):
        raise ValueError(f"chroot: {path!r} holds nobody who stays root; give a user as well")
    return path
