"""When molds and workers become who they shall be. What could have been seen before has been checked by the master.

A mold becomes its user before it imports anything of the application's; its workers are born as that user. Two things
are a worker's own: its CPUs, which go by its slot, and its root, which comes last, once all is loaded and built.
It must not know the calls. Invariant: where a user is asked for, no code of the application runs as another.
Read next: ``prefork/system/privileges.py``, the calls.
"""

import logging
import os
from collections.abc import Callable
from functools import partial

from prefork.errors import NotLoadedError
from prefork.system import privileges
from prefork.system.privileges import SYS_CHROOT, Privileges

logger = logging.getLogger("prefork.worker")


def give_up(wanted: Privileges) -> None:
    """In a mold, before it imports the application.

    :raises NotLoadedError: the kernel refuses, with the setting and the reason.
    """
    for name, (soft, hard) in wanted.rlimits.items():
        _try(f"rlimits: {name} cannot be {soft}:{hard}", partial(privileges.limit, name, soft, hard))
    if (nice := wanted.nice) is not None:
        _try(f"nice: it cannot be {nice}", lambda: os.setpriority(os.PRIO_PROCESS, 0, nice))
    if wanted.umask != -1:
        os.umask(wanted.umask)
    if wanted.no_new_privs:
        _try("no_new_privs: it cannot be had", privileges.gain_no_more)
    if wanted.uid != -1:
        _become(wanted)


def _become(wanted: Privileges) -> None:
    keep = [SYS_CHROOT] if wanted.chroot else []
    who = f"{wanted.login or wanted.uid} ({wanted.uid}:{wanted.gid})"
    _try(f"user: cannot become {who}", lambda: privileges.become(wanted.uid, wanted.gid, wanted.groups, keep))
    if wanted.home:
        os.environ["HOME"] = wanted.home
        for name in ("USER", "LOGNAME"):
            os.environ.pop(name, None)
            os.environ.update({name: wanted.login} if wanted.login else {})
    if not os.access(os.__file__, os.R_OK):
        remedy = "let it read that directory and those above it, or install Python elsewhere"
        raise NotLoadedError(f"user: {who} cannot read our Python, {os.path.dirname(os.__file__)}; {remedy}")


def pin(wanted: Privileges, slot: int) -> None:
    """In a worker: keep to the CPUs of its slot, as far as they are still there."""
    if wanted.cpus:
        cpus = wanted.cpus[(slot - 1) % len(wanted.cpus)]
        try:
            os.sched_setaffinity(0, cpus)
        except OSError as error:
            logger.warning("cpu_affinity: cannot keep to CPUs %s: %s", cpus, error.strerror)


def enter_root(wanted: Privileges) -> None:
    """In a worker that has built its servers: nothing outside ``chroot`` can be named from here on.

    :raises NotLoadedError: the kernel refuses.
    """
    if wanted.chroot:
        _try(f"chroot: cannot make {wanted.chroot} the root", lambda: _change_root(wanted.chroot))


def _change_root(path: str) -> None:
    privileges.raise_again([SYS_CHROOT])
    os.chroot(path)
    os.chdir("/")
    privileges.lose_all()


def _try(what: str, call: Callable[[], None]) -> None:
    try:
        call()
    except (OSError, RuntimeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NotLoadedError(f"{what}: {why}") from None
