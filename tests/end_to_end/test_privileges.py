"""The master stays who it is; molds and workers become who they shall be, and everything works for them."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.clients import Question, ask
from tests.end_to_end.harness import ROOT, STREAM, TCP, Gate, Master, Watched, look_until
from tests.end_to_end.nobody import NOBODY, open_the_way
from tests.end_to_end.test_control import run
from tests.end_to_end.test_modes import MODES
from tests.end_to_end.test_orphans import expect_nobody, kill

SELVES = "tests.end_to_end.selves:Handler"
AS_NOBODY = ("--user", "nobody")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")


@contextmanager
def serving(*arguments: str, cwd: Path = ROOT) -> Iterator[Master]:
    with Master(*arguments, cwd=cwd, before_exec=open_the_way) as master:
        master.wait_serving()
        yield master


def told(master: Master, word: str, bind: int = 0) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(ask(master.bind(bind), word))
    return answer


def owners(pid: int) -> set[str]:
    """The user ids of a process: real, effective, saved, and that of files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return set(next(line for line in lines if line.startswith("Uid:")).split()[1:])


@pytest.fixture
def public(short_path: Path) -> Path:
    """A directory of root that everybody may enter."""
    short_path.chmod(0o755)
    return short_path


@pytest.fixture
def public_gate(public: Path, gate: Gate) -> Gate:
    os.chmod(gate.path, 0o666)
    return gate


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_no_code_of_the_application_runs_as_root(preload: str) -> None:
    """Not even its import, nor with a group, a capability or a home of root's; only the master stays who it was."""
    with serving(SELVES, "-b", TCP, "-w", "1", *AS_NOBODY, preload) as master:
        for word in ("import", "now"):
            self = told(master, word)
            assert (self["uids"], self["gids"], self["groups"]) == ([NOBODY] * 3, [NOBODY] * 3, [NOBODY])
            assert {int(self[name], 16) for name in ("CapEff", "CapPrm", "CapInh")} == {0}
            assert (self["user"], self["home"]) == ("nobody", "/nonexistent")
        users = {process.kind: owners(process.pid) for process in master.processes()}
        assert users == {"master": {"0"}, "mold": {f"{NOBODY}"}, "worker": {f"{NOBODY}"}}


def test_what_lies_in_the_working_directory_is_not_run_as_root(public: Path) -> None:
    """Although a module there may have the name of one that our own code needs."""
    (public / "json.py").write_text("import os\nos.mkdir(f'{os.path.dirname(__file__)}/run-by-{os.geteuid()}')\n")
    public.chmod(0o777)
    command = "import sys; from prefork.cli import main; sys.argv = ['prefork', *sys.argv[4:]]; main()"
    installed = (sys.executable, "-P", "-c", command)  # as the script of that name, which does not look there either
    arguments = (STREAM, "-b", TCP, "-w", "1", "--pythonpath", str(ROOT), *AS_NOBODY)
    with Master(*arguments, cwd=public, prefix=installed, before_exec=open_the_way) as master:
        master.wait_serving()
        assert not (public / "run-by-0").exists()


def test_its_groups_are_those_of_the_user_unless_another_is_given() -> None:
    """By name or number; a user without an entry has the group it is given, and no name."""
    for arguments, gid, user in [
        (("-u", "nobody", "-g", "daemon"), 1, "nobody"),
        (("-u", "4711", "-g", "4712"), 4712, None),
    ]:
        with serving(SELVES, "-b", TCP, "-w", "1", *arguments) as master:
            self = told(master, "now")
            assert self["gids"] == [gid] * 3
            assert gid in self["groups"]
            assert 0 not in self["groups"]
            assert self["user"] == user


def test_ports_and_paths_are_opened_by_the_master(public: Path) -> None:
    """Below 1024, and where only root may write; the path is gone after the stop."""
    path = public / "private" / "x.sock"
    path.parent.mkdir(mode=0o700)
    binds = ("-b", "tcp://127.0.0.1:81", "-b", f"unix:{path}")
    with serving(SELVES, *binds, "-w", "1", *AS_NOBODY) as master:
        assert told(master, "now")["uids"] == [NOBODY] * 3
        assert told(master, "now", bind=1)["uids"] == [NOBODY] * 3
        assert told(master, str(path.parent / "file")) == {"error": "PermissionError"}
        assert run("status", "-n", "selves").code == 0
    assert not path.exists()


def test_limits_hold_from_the_import_on(public: Path) -> None:
    """umask, rlimits, nice value and no_new_privs, in mold and worker alike."""
    limits = "nofile=100:200,core=0"
    flags = ("--umask", "027", "--rlimits", limits, "--nice", "-3", "--no-new-privs")
    with serving(SELVES, "-b", TCP, "-w", "1", *AS_NOBODY, *flags) as master:
        for word in ("import", "now"):
            self = told(master, word)
            assert (self["umask"], self["nofile"], self["core"]) == (0o027, [100, 200], [0, 0])
            assert (self["nice"], self["NoNewPrivs"]) == (-3, "1")
        public.chmod(0o777)
        told(master, str(public / "file"))
        assert (public / "file").stat().st_mode & 0o777 == 0o640
        assert os.getpriority(os.PRIO_PROCESS, master.pid) == os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU leaves no choice")
def test_cpus_go_by_the_slot(gate: Gate) -> None:
    """The first set to slot 1, the second to slot 2, the first again to slot 3; this needs no privilege."""
    first, second, *_ = sorted(os.sched_getaffinity(0))
    sets = f"{first} {first},{second}"
    with serving(STREAM, "-b", TCP, "-w", "3", "--cpu-affinity", sets) as master:
        assert {slot: sorted(os.sched_getaffinity(pid)) for slot, pid in master.workers().items()} == {
            1: [first],
            2: [first, second],
            3: [first],
        }
        assert len(os.sched_getaffinity(master.mold())) >= 2


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_in_a_root_of_its_own_a_worker_serves(preload: str, public: Path) -> None:
    """What was loaded before works there; nothing outside can be named, and no privilege is left."""
    jail = public / "jail"
    jail.mkdir(mode=0o777)
    jail.chmod(0o777)
    log = public / "private.log"
    arguments = ("-b", TCP, "-w", "1", *AS_NOBODY, "--chroot", str(jail), preload, "--log-file", str(log))
    with Master(SELVES, *arguments, before_exec=open_the_way) as master:
        look_until(lambda: log.exists() and "serves with" in log.read_text(), "the service is ready")
        bind = log.read_text().partition("listening on ")[2].split()[0]
        self = json.loads(ask(bind, "now"))
        assert (self["root"], self["cwd"], self["uids"]) == ([], "/", [NOBODY] * 3)
        assert json.loads(ask(bind, "/inside")) == {"error": ""}
        assert (jail / "inside").stat().st_uid == NOBODY
        lines = Path(f"/proc/{self['pid']}/status").read_text().splitlines()
        assert {line.split()[1] for line in lines if line.startswith(("CapEff", "CapPrm"))} == {"0" * 16}
        master.signal(signal.SIGUSR1)
        look_until(lambda: "log reopened" in log.read_text(), "the log is reopened")
        kill(master)
        expect_nobody(master)


def test_the_master_reads_the_stacks_of_another_users_worker(public: Path, public_gate: Gate) -> None:
    """Also of one in a root of its own, where there is no /proc."""
    jail = public / "jail"
    jail.mkdir(mode=0o755)
    arguments = ("-b", TCP, "-w", "1", "-n", f"private-{os.getpid()}", *AS_NOBODY, "--chroot", str(jail))
    with Master(STREAM, *arguments, before_exec=open_the_way) as master:
        master.wait_serving()
        assert ask(master.bind(), "hello") == "HELLO"
        outcome = run("dump", "-n", f"private-{os.getpid()}", "1")
        assert (outcome.code, outcome.err) == (0, "")
        assert " in for_news" in outcome.out
        master.wait_for("the stacks of this worker")


def test_a_log_file_that_was_moved_is_noticed_though_workers_cannot_see_it(public: Path) -> None:
    """By the master's own next line; whoever becomes a line of the workers is in one of the two files."""
    log = public / "private" / "shop.log"
    log.parent.mkdir(mode=0o700)
    arguments = ("-b", TCP, "-w", "1", *AS_NOBODY, "--log-file", str(log), "--log-level", "debug")
    with Master(STREAM, *arguments, before_exec=open_the_way) as master:
        look_until(lambda: log.exists() and "serves with" in log.read_text(), "the service is ready")
        bind = log.read_text().partition("listening on ")[2].split()[0]
        old = log.rename(log.with_suffix(".1"))
        assert Question(bind, "raise early").is_lost()
        look_until(lambda: "ValueError: early" in old.read_text(), "it is in the old file")
        master.signal(signal.SIGTTIN)
        look_until(lambda: log.exists() and "log reopened" in log.read_text(), "the master has noticed")
        master.stop()


def test_the_log_file_is_roots_and_follows(public: Path, public_gate: Gate) -> None:
    """Workers write into a file that they may not open, before and after it was moved away; and so does a newborn."""
    log = public / "private" / "shop.log"
    log.parent.mkdir(mode=0o700)
    arguments = ("-b", TCP, "-w", "1", *AS_NOBODY, "--log-file", str(log))
    with Master(STREAM, *arguments, before_exec=open_the_way) as master:
        look_until(lambda: log.exists() and "serves with" in log.read_text(), "the service is ready")
        bind = log.read_text().partition("listening on ")[2].split()[0]
        assert Question(bind, "raise early").is_lost()
        old = log.rename(log.with_suffix(".1"))
        master.signal(signal.SIGUSR1)
        look_until(lambda: log.exists() and "log reopened" in log.read_text(), "the log is reopened")
        pid = int(ask(bind, "pid"))
        look_until(lambda: any(os.readlink(f) == str(log) for f in links(pid)), "the worker writes there too")
        assert Question(bind, "raise late").is_lost()
        master.kill(pid)
        look_until(lambda: log.read_text().count("is ready") == 1, "another has come")
        assert Question(bind, "raise later").is_lost()
        look_until(lambda: "later" in log.read_text(), "it writes there too")
        assert "ValueError: early" in old.read_text()
        assert "ValueError: late" not in old.read_text()
        assert "ValueError: late\n" in log.read_text()
        assert (log.stat().st_uid, log.stat().st_mode & 0o777) == (0, 0o640)


def links(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.parametrize("trouble", ["hold", "stuck-in-c", "deaf"])
def test_a_killed_master_leaves_nobody(trouble: str, public_gate: Gate) -> None:
    """Busy workers of another user hear of it too, and have the drain limit."""
    arguments = ("-b", TCP, "-w", "2", *AS_NOBODY, "--graceful-timeout", "300ms")
    with serving(STREAM, *arguments) as master:
        question = Question(master.bind(), f"{trouble} {public_gate.path}")
        public_gate.visitor()
        kill(master)
        assert question.is_lost()
        expect_nobody(master)


@pytest.mark.parametrize("mode", ["fork", "prefork"])
def test_they_are_steered_and_replaced_as_ever(mode: str, public_gate: Gate) -> None:
    """Titles, deadlines, kills, reload and stop reach processes of another user."""
    limits = ("--request-hard", "300ms", "--quick-timeout", "500ms")
    with serving(STREAM, "-b", TCP, *MODES[mode], *AS_NOBODY, *limits) as master:
        stuck = Question(master.bind(), f"stuck-in-c {public_gate.path}")
        with Watched([public_gate.visitor().pid]) as watched:
            watched.wait_all()
        assert stuck.is_lost()
        master.wait_for("in _stuck_in_c")  # its stack is in the log
        master.signal(signal.SIGHUP)
        master.wait_serving(2)
        assert ask(master.bind(), "hello") == "HELLO"
        assert {process.kind for process in master.processes()} >= {"master", "mold", "worker"}


def test_an_import_that_the_user_may_not_read_says_so(public: Path) -> None:
    """Exit 3, with the module's name, as for any module that is not there."""
    private = public / "private"
    private.mkdir(mode=0o700)
    (private / "shop.py").write_text("")
    arguments = ("shop:Handler", "-b", TCP, "--pythonpath", str(private), *AS_NOBODY)
    with Master(*arguments, before_exec=open_the_way) as master:
        master.expect_exit(3)
        assert master.lines("no module named 'shop'")


def test_what_is_wrong_is_said_before_a_socket_is_touched(tmp_path: Path) -> None:
    """Exit 2, with the place in the file."""
    config = tmp_path / "prefork.toml"
    config.write_text(f"[service.echo]\ntarget = '{STREAM}'\nbind = ['{TCP}']\nuser = 'nosuch'\n")
    with Master("-c", str(config)) as master:
        master.expect_exit(2)
        assert len(master.log) == 1
        assert f"{config}:4: [service.echo]: user: there is no user 'nosuch'" in master.log[0]
