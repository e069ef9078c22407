"""A name, and a pid file, belong to one instance; a second start hurts nothing of the first."""

import os
import signal
from pathlib import Path

from tests.end_to_end.clients import ask
from tests.end_to_end.harness import STREAM, TCP, Master, serving
from tests.end_to_end.test_control import run


def test_a_second_start_of_a_name_exits_6_and_hurts_nothing(short_path: Path) -> None:
    """The first serves on, on its path and its control socket, and its log and pid file are its own."""
    bind = f"unix:{short_path}/shop.sock"
    pid, log, control = (str(short_path / name) for name in ("shop.pid", "shop.log", "control.sock"))
    arguments = (STREAM, "-b", bind, "-n", "shop", "-w", "1", "--pid", pid, "--control", control)
    with serving(*arguments) as first:
        paths = {path.name: path.stat().st_ino for path in short_path.iterdir()}
        with Master(*arguments, "--log-file", log) as second:
            assert second.exit_code() == 6
            assert second.lines("an instance named 'shop' runs already for this user")
        assert {path.name: path.stat().st_ino for path in short_path.iterdir()} == paths
        assert Path(pid).read_text() == f"{first.pid}\n"
        assert ask(bind, "hello") == "HELLO"
        assert run("status", "--control", control).code == 0


def test_a_second_start_with_the_pid_file_exits_6(tmp_path: Path) -> None:
    """Under whatever name; once the first has stopped the file is free, and gone."""
    pid = tmp_path / "shop.pid"
    with serving(STREAM, "-b", TCP, "-n", "one", "-w", "1", "--pid", str(pid)) as first:
        with Master(STREAM, "-b", TCP, "-n", "two", "--pid", str(pid)) as second:
            assert second.exit_code() == 6
            assert second.lines(f"pid: {pid} is held by a running instance")
        assert pid.read_text() == f"{first.pid}\n"
        assert ask(first.bind(), "hello") == "HELLO"
    assert not pid.exists()


def test_the_pid_file_of_a_killed_master_is_no_obstacle(tmp_path: Path) -> None:
    """Nobody holds it any more."""
    pid = tmp_path / "shop.pid"
    with Master(STREAM, "-b", TCP, "-w", "1", "--pid", str(pid)) as first:
        first.wait_serving()
        first.signal(signal.SIGKILL)
        first.exit_code()
        assert pid.read_text() == f"{first.pid}\n"
        with serving(STREAM, "-b", TCP, "-w", "1", "--pid", str(pid)) as second:
            assert pid.read_text() == f"{second.pid}\n"
    assert not os.path.lexists(pid)


def test_a_pid_file_that_cannot_be_is_one_error(tmp_path: Path) -> None:
    """A file that holds something else stays as it was."""
    other = tmp_path / "prefork.toml"
    other.write_text("workers = 4\n")
    for path, why in ((other, "holds something else than a pid"), (tmp_path / "no" / "pid", "cannot write")):
        with Master(STREAM, "-b", TCP, "--pid", str(path)) as master:
            master.expect_exit(2)
            assert len(master.log) == 1
            assert why in master.log[0]
    assert other.read_text() == "workers = 4\n"
