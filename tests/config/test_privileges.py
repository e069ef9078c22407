"""Who a service's processes are, and what they may, is checked where it is written; one promise a test."""

import os
import resource
from typing import Any

import pytest

from prefork.config.service import Service
from prefork.config.settings import convert
from prefork.system import privileges
from prefork.system.privileges import Privileges
from tests.children import NOBODY, become_nobody, said_by
from tests.config.test_settings import GOOD, PLACE, refusal

IS_ROOT = os.geteuid() == 0
HIGHEST = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
CPU = min(os.sched_getaffinity(0))

WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"user": "nosuch"}, "user", "there is no user 'nosuch' on this machine"),
    ({"user": "a\0b"}, "user", "there is no user 'a\\x00b' on this machine"),
    ({"group": "a\0b"}, "group", "there is no group 'a\\x00b' on this machine"),
    ({"user": 65534}, "user", "put it in quotes"),
    ({"user": str(2**32 - 1)}, "user", "no user '4294967295'"),
    ({"group": "nosuch"}, "group", "there is no group 'nosuch' on this machine"),
    ({"user": "4711"}, "group", "user 4711 has no entry that would name its group; give one"),
    ({"umask": "8"}, "umask", "as 027"),
    ({"umask": "1777"}, "umask", "as 027"),
    ({"umask": 27}, "umask", "put it in quotes"),
    ({"chroot": "/nowhere", "user": "nobody"}, "chroot", "'/nowhere' is no directory"),
    ({"chroot": "tests", "user": "nobody"}, "chroot", "by its full path"),
    ({"rlimits": {"files": 3}}, "rlimits", "'files' is no limit; there are as, core"),
    ({"rlimits": {"nofile": "many"}}, "rlimits", "nofile = 'many' is no limit; write 4096"),
    ({"rlimits": {"nofile": "1k"}}, "rlimits", "write 4096"),
    ({"rlimits": {"as": "1 PiB"}}, "rlimits", "256MiB"),
    ({"rlimits": {"nofile": "200:100"}}, "rlimits", "has a soft limit above its hard one"),
    ({"rlimits": {"nofile": "unlimited:100"}}, "rlimits", "has a soft limit above its hard one"),
    ({"rlimits": {"nofile": -1}}, "rlimits", "is no limit"),
    ({"rlimits": {"nofile": True}}, "rlimits", "is not a table of limits"),
    ({"rlimits": "nofile"}, "rlimits", "is not a table of limits"),
    ({"no_new_privs": "perhaps"}, "no_new_privs", "true or false"),
    ({"nice": 20}, "nice", "not between -20 and 19"),
    ({"nice": "kind"}, "nice", "whole number"),
    ({"cpu_affinity": "9999"}, "cpu_affinity", "CPU 9999 is not among those we may use"),
    ({"cpu_affinity": "all"}, "cpu_affinity", "'all' names no CPUs; write each"),
    ({"cpu_affinity": "1-0"}, "cpu_affinity", "names no CPUs"),
    ({"on_ready": "nosuch --flag"}, "on_ready", "there is no program 'nosuch' that we may run"),
    ({"on_reload": "touch 'a"}, "on_reload", "cannot be split into words: no closing quotation"),
    ({"on_failed": [3]}, "on_failed", "or as a list of its words"),
    ({"on_failed": ["/etc/passwd"]}, "on_failed", "that we may run"),
    ({"command_timeout": "soon"}, "command_timeout", "30s"),
]


@pytest.mark.parametrize(("given", "field", "remedy"), WRONG)
def test_what_makes_no_sense_here_is_one_line(given: dict[str, Any], field: str, remedy: str) -> None:
    """With the place, the setting, and what would be right."""
    line = refusal({**GOOD, **given}, Service, PLACE)
    assert line.startswith(f"{PLACE}: {field}: ")
    assert remedy in line


def settled(**given: Any) -> Privileges:
    service: Service = convert({**GOOD, **given}, Service, PLACE)
    return service.privileges


def test_nothing_asked_for_changes_nothing() -> None:
    """Also for root."""
    assert settled() == Privileges()


def test_limits_are_soft_and_hard() -> None:
    """One number is both, as for ulimit; sizes have units."""
    table = {"nofile": 64, "core": "0:unlimited", "as": "1GiB", "nproc": "64:128"}
    assert settled(rlimits=table).rlimits == {
        "nofile": [64, 64],
        "core": [0, privileges.UNLIMITED],
        "as": [2**30, 2**30],
        "nproc": [64, 128],
    }


@pytest.mark.skipif(privileges.holds(privileges.SYS_RESOURCE), reason="we may raise every limit")
def test_a_limit_that_we_cannot_give_is_refused_with_ours() -> None:
    """Before anything is opened."""
    line = refusal({**GOOD, "rlimits": {"nofile": HIGHEST + 1}}, Service, PLACE)
    assert f"nofile = {HIGHEST + 1} is too high: we are limited to {HIGHEST} ourselves" in line


def test_cpus_are_sets_with_spaces_between_them() -> None:
    """Or each of those we may use."""
    assert settled(cpu_affinity=f"{CPU} {CPU}-{CPU},{CPU}").cpus == [[CPU], [CPU]]
    assert settled(cpu_affinity="each").cpus == [[cpu] for cpu in sorted(os.sched_getaffinity(0))]


def test_a_umask_is_octal() -> None:
    """As a shell's and gunicorn's."""
    assert settled(umask="027").umask == settled(umask="27").umask == 0o027


@pytest.mark.skipif(not IS_ROOT, reason="only root becomes somebody else")
def test_a_user_has_its_own_groups_and_home() -> None:
    """By name as by number; the group may be another."""
    by_name = settled(user="nobody", group="4711")
    assert by_name == settled(user=str(NOBODY), group="4711")
    assert (by_name.uid, by_name.gid, by_name.login, by_name.home) == (NOBODY, 4711, "nobody", "/nonexistent")
    assert by_name.groups == os.getgrouplist("nobody", 4711)
    alone = settled(group="4711")
    assert (alone.uid, alone.gid, alone.groups, alone.home) == (0, 4711, [4711], "")


@pytest.mark.skipif(not IS_ROOT, reason="only root becomes somebody else")
def test_a_root_of_its_own_needs_a_user() -> None:
    """For who stays root leaves it again."""
    for user in ({}, {"user": "root"}):
        assert "give a user as well" in refusal({**GOOD, "chroot": "/tmp", **user}, Service, PLACE)


@pytest.mark.skipif(not IS_ROOT, reason="only root becomes somebody else")
def test_who_is_not_root_may_ask_for_what_it_is() -> None:
    """And for nothing else; nor for what takes a privilege."""

    def ask_as_nobody(parent: object) -> list[Any]:
        become_nobody()
        own = settled(user="nobody", group=str(NOBODY))
        wishes: list[dict[str, Any]] = [
            {"user": "root"},
            {"group": "root"},
            {"user": "nobody", "chroot": "/tmp"},
            {"nice": -5},
        ]
        return [own, *(refusal({**GOOD, **wish}, Service, PLACE) for wish in wishes)]

    own, user, group, chroot, nice = said_by(ask_as_nobody)
    assert own == Privileges()
    assert "user: 'root' is not who we are, and cannot become" in user
    assert "group: 'root' is not ours, and we cannot join it" in group
    assert "chroot: '/tmp' can be made the root only by root" in chroot
    assert "nice: -5 is below" in nice


def test_commands_are_words_and_their_program_is_found() -> None:
    """Text is split as by a shell, a list is taken as it is; both begin with a full path."""
    service: Service = convert(
        {**GOOD, "on_ready": "sh -c 'echo $1' a", "on_reload": ["/bin/sh", "b c"]}, Service, PLACE
    )
    assert service.on_ready[0].startswith("/")
    assert service.on_ready[1:] == ("-c", "echo $1", "a")
    assert service.on_reload == ("/bin/sh", "b c")
    assert service.on_failed == ()
