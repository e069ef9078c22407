"""What a process gives up it does not get back; one call a test, in a child of root."""

import errno
import os
import resource

import pytest

from prefork.system import privileges
from prefork.system.privileges import KILL, SETUID, SYS_CHROOT, SYS_NICE
from tests.children import NOBODY, Link, become_nobody, said_by

root_alone = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")


def become(*keep: int, groups: tuple[int, ...] = (NOBODY,)) -> None:
    privileges.become(NOBODY, NOBODY, groups, keep)


@root_alone
def test_who_has_become_another_user_stays_it() -> None:
    """Real, effective and saved, with its groups and without a capability."""

    def drop(parent: Link) -> list[object]:
        become(groups=(4711, NOBODY))
        held = [privileges.holds(capability) for capability in (SETUID, KILL, SYS_CHROOT)]
        return [os.getresuid(), os.getresgid(), sorted(os.getgroups()), held]

    assert said_by(drop) == [(NOBODY,) * 3, (NOBODY,) * 3, [4711, NOBODY], [False] * 3]


@root_alone
def test_a_change_that_did_not_happen_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever made the kernel say yes."""
    monkeypatch.setattr(os, "setresuid", lambda *ids: None)

    def drop(parent: Link) -> str:
        with pytest.raises(RuntimeError) as raised:
            become()
        return str(raised.value)

    assert "it is still (0, 0, 0)" in said_by(drop)


@root_alone
def test_what_is_kept_is_raised_once_and_lost() -> None:
    """That, and nothing else."""

    def keep_one(parent: Link) -> list[bool]:
        become(SYS_CHROOT)
        told = [privileges.holds(SYS_CHROOT)]
        privileges.raise_again([SYS_CHROOT])
        told.append(privileges.holds(SYS_CHROOT))
        with pytest.raises(PermissionError):
            privileges.raise_again([SYS_NICE])
        privileges.lose_all()
        with pytest.raises(PermissionError):
            privileges.raise_again([SYS_CHROOT])
        return [*told, privileges.holds(SYS_CHROOT)]

    assert said_by(keep_one) == [False, True, False]


@root_alone
def test_who_has_no_privilege_becomes_nobody_else() -> None:
    """EPERM, and it is who it was."""

    def try_it(parent: Link) -> tuple[int | None, int]:
        become_nobody()
        with pytest.raises(OSError) as raised:
            privileges.become(1, 1, [1])
        return raised.value.errno, os.geteuid()

    assert said_by(try_it) == (errno.EPERM, NOBODY)


def test_no_new_privileges_are_for_ever() -> None:
    """Also of what it starts."""

    def ask(parent: Link) -> bool:
        privileges.gain_no_more()
        with open("/proc/self/status") as status:
            return "NoNewPrivs:\t1\n" in status.read()

    assert said_by(ask) is True


def test_a_limit_is_soft_and_hard() -> None:
    """And beyond the hard one there is none."""

    def lower(parent: Link) -> list[object]:
        privileges.limit("nofile", 100, 200)
        found: list[object] = [resource.getrlimit(resource.RLIMIT_NOFILE), privileges.hard_limit("nofile")]
        if not privileges.holds(privileges.SYS_RESOURCE):
            with pytest.raises((OSError, ValueError)):
                privileges.limit("nofile", 100, 300)
        return found

    assert said_by(lower) == [(100, 200), 200]


def test_every_limit_of_the_kernel_has_its_name() -> None:
    """As ulimit's manual page and systemd call them."""
    assert {"as", "core", "cpu", "fsize", "memlock", "nofile", "nproc", "stack"} <= set(privileges.LIMITS)
