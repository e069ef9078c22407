"""``prefork tune`` as its users run it: a real service, a real load, and nothing of either left."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from prefork.cli import cli
from prefork.cli.tune import limit_of_memory
from prefork.cli.tuned import show
from prefork.lab.goals import read_goal
from prefork.lab.profile import Profile
from prefork.lab.tuning import Tuning
from prefork.system import sockets
from tests.end_to_end.clients import LIMIT, ask
from tests.end_to_end.harness import ROOT, STREAM, TCP, Gate, serving
from tests.lab.test_tuner import Bench, tuned


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "prefork", "tune", *arguments]


@contextmanager
def started(*arguments: str, scratch: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """The command, with its standard error to be read line by line; whatever happens, it ends.

    :param scratch: its temporary directory.
    """
    pipe, environ = subprocess.PIPE, os.environ if scratch is None else {**os.environ, "TMPDIR": scratch}
    process = subprocess.Popen(program(*arguments), cwd=ROOT, env=environ, stdout=pipe, stderr=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(program(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=2 * LIMIT)


def left_by(pid: int) -> list[str]:
    """Instances that a lab of that process started, and that still hold their name."""
    return [name for _, name in sockets.held_names() if name.startswith(f"lab-{pid}-")]


def refused(arguments: Sequence[str]) -> Result:
    return CliRunner().invoke(cli, ["tune", *arguments])


def test_a_target_is_measured_and_advised(tmp_path: Path) -> None:
    """With all it can write; nothing is left running."""
    files = {name: str(tmp_path / name) for name in ("all.json", "profile.json", "picture.svg")}
    with started(
        *(STREAM, "--reply", "line", "--expect", "HELLO\\n", "-b", "unix:"),
        *("--budget", "5s", "--rounds", "1", "--max-workers", "2"),
        *("--json", files["all.json"], "--save-profile", files["profile.json"], "--picture", files["picture.svg"]),
    ) as process:
        out, err = process.communicate(timeout=2 * LIMIT)
        assert process.returncode == 0, err
        assert not left_by(process.pid)
    tuning = msgspec.json.decode(Path(files["all.json"]).read_bytes(), type=Tuning)
    assert tuning.choice is not None
    assert out.startswith(f"run {tuning.choice.workers} worker")
    assert f"workers = {tuning.choice.workers}" in out
    assert {one.workers for one in tuning.sweep} == {1, 2}
    assert all(one.rate > 0 and not one.errors and one.cpus > 0 and one.pss_bytes > 0 for one in tuning.sweep)
    assert len(tuning.service_seconds) == 200
    profile = msgspec.json.decode(Path(files["profile.json"]).read_bytes(), type=Profile)
    assert (profile.source, profile.workers, profile.target) == ("measured", tuning.choice.workers, STREAM)
    assert Path(files["picture.svg"]).read_text().count("<svg") == 1


@pytest.mark.long
def test_a_rate_beyond_all_workers_is_no_answer() -> None:
    """Exit 1, with the most there is."""
    done = run(
        *("wait=50ms", "--rate", "2000", "--p99", "60ms", "--timeout", "500ms"),
        *("--budget", "5s", "--rounds", "1", "--max-workers", "1"),
    )
    assert done.returncode == 1, done.stderr
    first, second, *_ = done.stdout.splitlines()
    assert first == "no number of workers serves 2000/s with p99 60ms here; tried: 1"
    assert second.startswith("the most there was is ")


def test_it_is_interrupted_with_what_is_known() -> None:
    """Exit 130, in the middle of a run, and nothing is left."""
    with started("wait=5ms", "--budget", "1h") as process:
        assert process.stderr is not None
        heads = [process.stderr.readline() for _ in range(2)]
        assert heads[0].startswith("wait=5ms: at most 1h")
        os.kill(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=2 * LIMIT)
        assert process.returncode == 130
        assert out.startswith("interrupted: this is what is known so far\n")
        assert not left_by(process.pid)


@pytest.mark.long
def test_nothing_is_left_when_its_terminal_goes_away() -> None:
    """Exit 129, in the middle of a run; neither a service nor what it needed is there any more."""
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:  # a name so short that sockets fit into it
        with started("wait=5ms", "--budget", "1h", scratch=scratch) as process:
            assert process.stderr is not None
            for _ in range(2):
                assert process.stderr.readline()
            process.send_signal(signal.SIGHUP)
            process.communicate(timeout=2 * LIMIT)
            assert process.returncode == 129
            assert not left_by(process.pid)
        assert os.listdir(scratch) == []


def test_a_target_that_cannot_be_loaded_is_one_line() -> None:
    """Exit 3, as of ``prefork run``."""
    done = run("tests.nowhere:Handler", "--budget", "5s")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("prefork: no module named 'tests.nowhere'")
    assert not done.stdout


def test_a_service_that_answers_nothing_rightly_is_one_line() -> None:
    """Exit 1, with the first reason, and no advice."""
    done = run(STREAM, "--reply", "line", "--expect", "something else", "--budget", "5s")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"prefork: {STREAM}: no request was answered rightly: ")
    assert not done.stdout


def test_what_was_asked_for_can_be_saved() -> None:
    """Durations and sizes as well, which are numbers of their own kind while they are read."""
    asked = [read_goal("--p99", "p99", "50ms"), limit_of_memory("2GiB")]
    assert json.loads(msgspec.json.encode(asked)) == [{"share": 0.99, "seconds": 0.05}, [2 << 30, "--memory"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "TARGET: nothing was named to measure; give MODULE:NAME, a workload as cpu=2ms, or --live"),
        (["nosuch"], "there is no workload 'nosuch'; the workloads are"),
        (["a:b", "--p99", "50ms"], "--p99: a goal is of a rate; give --rate, requests a second"),
        (["a:b", "--rate", "-1"], "--rate: -1 a second cannot be asked for"),
        (["a:b", "--rate", "9", "--goal", "p98=1s"], "--goal: 'p98' is no percentile that is measured"),
        (["a:b", "--rate", "9", "--goal", "p99"], "--goal: 'p99' is no goal; write it as p99=50ms"),
        (["a:b", "--rate", "9", "--p99", "1s", "--goal", "p99=2s"], "--goal: p99 has two goals; give one"),
        (["a:b", "--rate", "9", "--p99", "soon"], "--p99: 'soon' is no duration"),
        (["a:b", "--mode", "thread"], "--mode: 'thread' has no number of workers to find; it is prefork or hybrid"),
        (["a:b", "--threads", "4"], "--threads: workers of prefork have none; give --mode hybrid"),
        (["a:b", "--budget", "1s"], "--budget: 1 s is too short to measure anything; give at least 5s"),
        (["a:b", "--memory", "much"], "--memory: 'much' is no size"),
        (["a:b", "--picture", "x.gif"], "--picture: 'x.gif' cannot be drawn; end it in .svg or .png"),
        (["a:b", "--window", "5s"], "--window: this is for watching what runs; give it with --live"),
        (["--live", "--budget", "5s"], "--budget: this is for measuring a target; --live only watches, leave it out"),
        (["--live", "--send", "x"], "--send: this is for measuring a target; --live only watches, leave it out"),
        (["a:b", "--script", "nosuch:fn"], "--script: nosuch:fn cannot be loaded: ModuleNotFoundError"),
        (["cpu=2ms", "--processes", "0"], "--processes: 0 is too few; 1 is the least"),
        (["cpu=2ms", "--send", "x"], "--send: the workload cpu=2ms says itself what is sent"),
        (
            ["a:b", "--json", "/nowhere/x.json"],
            "--json: /nowhere/x.json cannot be written: there is no directory /nowhere",
        ),
        (["--live", "--window", "10ms"], "--window: 0.01 s shows nothing"),
        (["a:b", "--budget", "5s", "--", "--workers", "3"], "after --: --workers is what is measured"),
    ],
)
def test_what_makes_no_sense_is_one_line(arguments: list[str], said: str) -> None:
    """Exit 2, before anything is started."""
    error = refused(arguments).exception
    assert str(error).startswith(said)
    assert getattr(error, "exit_code", None) == 2


@pytest.mark.long
def test_memory_that_was_given_can_be_written(tmp_path: Path) -> None:
    """With all figures, and in a profile."""
    memory, why = limit_of_memory("1GiB")
    tuning = tuned(Bench(lambda n: 500.0 * min(n, 2)), memory=memory)
    files = {name: str(tmp_path / name) for name in ("as_json", "save_profile")}
    show(tuning, {}, {**files, "picture": None})
    assert (memory, why) == (1 << 30, "--memory")
    assert json.loads(Path(files["as_json"]).read_bytes())["limits"]["memory"] == memory
    assert json.loads(Path(files["save_profile"]).read_bytes())["memory_limit"] == memory


# A running service


def live(name: str, *arguments: str) -> Any:
    """What it says of the only service."""
    done = run("--live", "--name", name, "--json", "-", *arguments)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.long
def test_a_running_service_is_only_watched(tmp_path: Path) -> None:
    """What holds all workers is saturation; requests that come meanwhile are counted, and none is ours."""
    name = f"watched-{os.getpid()}"
    with Gate(tmp_path / "gate") as gate, serving(STREAM, "-b", TCP, "-w", "3", "-n", name) as master:
        _, visitors = master.hold_all(gate, 3)
        code, (held,) = live(name, "--window", "1s")
        assert (code, held["verdict"]) == (1, "unknown")
        assert (held["window"]["saturated"], held["window"]["requests"]) == (1.0, 0)
        assert held["window"]["busy"] == pytest.approx(3, rel=0.2)
        for visitor in visitors:
            visitor.let_pass()

        is_over = threading.Event()
        asked = []

        def keep_asking() -> None:
            while not is_over.is_set():
                asked.append(ask(master.bind(), "hello"))

        client = threading.Thread(target=keep_asking)
        client.start()
        try:
            code, (found,) = live(name, "--window", "1s", "--save-profile", str(tmp_path / "profile.json"))
        finally:
            is_over.set()
            client.join()
        window = found["window"]
        assert 0 < window["requests"] <= len(asked) + 3  # those that were held may be counted late
        assert (window["ready"], window["configured"], window["errors"]) == (3, [3, 3], 0)
        assert window["worker_bytes"] > 0
        profile = msgspec.json.decode((tmp_path / "profile.json").read_bytes(), type=Profile)
        assert (profile.source, profile.target, profile.scalability) == ("live", STREAM, None)
        assert set(asked) == {"HELLO"}


def test_nobody_to_watch_is_said() -> None:
    """Exit 7, with who is there."""
    done = run("--live", "--name", "nobody-of-this-name")
    assert done.returncode == 7
    assert "no instance nobody-of-this-name runs here" in done.stderr
