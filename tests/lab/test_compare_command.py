"""``prefork compare`` as its users call it: what it prints and saves, what it refuses, and that it leaves nothing."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prefork.cli import compare as cli
from prefork.cli import main
from prefork.lab.winning import LEAST_ROUNDS
from prefork.lab.workloads import NAMES
from prefork.system import processes
from tests.end_to_end.clients import LIMIT
from tests.end_to_end.harness import Watched, look_until, processes_of

TINY = ("--bind", "unix:", "-w", "2", "-c", "2", "-d", "200ms", "--warm-up", "50ms")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A temporary directory whose name is so short that sockets fit into it, whatever that of the tests is called."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        yield Path(directory)


@contextmanager
def comparing(scratch: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a session of its own, of which nothing is left afterwards, nor in its temporary directory."""
    with subprocess.Popen(
        [sys.executable, "-m", "prefork", "compare", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with Watched(one.pid for one in processes_of(process.pid)) as everybody:
                if process.poll() is None:
                    process.kill()
                everybody.wait_all()
    assert [one for one in processes_of(process.pid) if not one.is_zombie] == []


def compare(scratch: Path, *arguments: str) -> tuple[int, str, str]:
    with comparing(scratch, *arguments) as process:
        out, err = process.communicate(timeout=4 * LIMIT)
        assert [one.title for one in processes_of(process.pid) if not one.is_zombie] == []
    assert list(scratch.iterdir()) == []
    return process.returncode, out, err


def test_it_measures_saves_and_shows_again(scratch: Path, tmp_path: Path) -> None:
    """What was saved says the same when it is shown again, in every form."""
    saved, rows = tmp_path / "it.json", tmp_path / "it.csv"
    flags = ("--lines", "prefork,bare", "--rounds", "2", "--json", str(saved), "--csv", str(rows))
    code, out, err = compare(scratch, "echo", *TINY, *flags)
    assert code == 0, err
    assert err.startswith("2 cells in 2 rounds: about ")
    assert "[4/4] round 2: echo, " in err
    found = json.loads(saved.read_text())
    assert [len(cell["rounds"]) for cell in found["cells"]] == [2, 2]
    assert found["command"].startswith("prefork compare echo --bind=unix: --lines=prefork,bare ")
    assert "--json" not in found["command"]
    assert len(rows.read_text().splitlines()) == 5
    again = tmp_path / "again.csv"
    code, out_again, err = compare(scratch, "--from", str(saved), "--csv", str(again))
    assert (code, err) == (0, "")
    assert out_again == out
    assert again.read_text() == rows.read_text()
    code, out, _ = compare(scratch, "--from", str(saved), "--json", "-")
    assert json.loads(out) == found


@pytest.mark.long
def test_arguments_after_two_dashes_are_for_the_service(scratch: Path, tmp_path: Path) -> None:
    """Its home above all, in references as under the master; and they are in the command that does it again."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "shop.py").write_text(
        "import socketserver\n"
        "class Handler(socketserver.StreamRequestHandler):\n"
        "    def handle(self): self.wfile.write(self.rfile.readline())\n"
    )
    send = ("--send", "hi\\n", "--expect", "hi\\n", "--rounds", "1", "--lines", "sync,bare")
    flags = ("shop:Handler", *TINY, *send, "--json", "-", "--", "--pythonpath", str(home), "--titles", "none")
    code, out, err = compare(scratch, *flags)
    assert code == 0, err
    found = json.loads(out)
    assert {cell["cell"]["line"]: cell["rounds"][0]["errors"] for cell in found["cells"]} == {"sync": {}, "bare": {}}
    assert found["command"].endswith(f" -- --pythonpath {home} --titles none")


def test_all_workloads_in_short_have_enough_rounds_and_take_eight_minutes() -> None:
    """What is measured where nothing is said must be able to tell who leads."""
    with cli.compare.make_context("compare", []) as context:
        plans = [cli._plan(name, cli.SHORT, context.params) for name in NAMES]
    assert {plan.rounds for plan in plans} == {LEAST_ROUNDS}
    assert sum(plan.seconds for plan in plans) <= 8 * 60


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("eco",), "there is no workload 'eco'"),
        (("echo", "--send", "x"), "--send: the workload echo says itself what is sent"),
        (("echo", "--workers", "2,many"), "--workers: '2,many' is no list of numbers"),
        (("echo", "--lines", "prefork,waitress"), "--lines: there is no 'waitress'"),
        (("echo", "--duration", "0"), "--duration: nothing can be measured in no time"),
        (("echo", "--bind", "nowhere"), "'nowhere' is not a bind"),
        (("echo", "--json", "/nowhere/it.json"), "--json: /nowhere/it.json cannot be written"),
        (("a:b", "--script", "nosuch:fn"), "--script: nosuch:fn cannot be loaded: ModuleNotFoundError"),
        (("a:b", "--reply", "bla"), "--reply: 'bla' does not say where a reply ends"),
        (("a:b", "--processes", "0"), "--processes: 0 is too few; 1 is the least"),
        (("echo", "--timeout", "0"), "--timeout: 0 is not more than nothing"),
        (("echo", "--", "--workers", "3"), "after --: --workers is what is measured"),
        (("--json", "/nowhere/it.json"), "--json: /nowhere/it.json cannot be written: there is no directory /nowhere"),
        (("echo", "--workers", "1" * 5000), "' is no list of numbers from 1 to "),
        (("a:b", "--per-connection", "1" * 5000), "' is no number of requests"),
        (("echo", "--", "--nonsense"), "after --: no such option"),
        (("echo", "--", "--help"), "after --: no such option"),
        (("echo", "--", "--timeout", "soon"), "timeout: 'soon' is no duration"),
        (("--from", "it.json", "--rounds", "9"), "--rounds: this is for measuring; --from only shows what was saved"),
        (("--from", "it.json", "--modes", "prefork"), "--lines: this is for measuring; --from only shows"),
        (("--from", "it.json", "--header", "A:b"), "--header: this is for measuring; --from only shows"),
        (("--from", "it.json", "--", "--threads", "8"), "after --: this is for measuring; --from only shows"),
        (("--from", "/nowhere/it.json"), "--from: /nowhere/it.json cannot be read"),
        (("--from", ""), "--from: cannot be read"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is started."""
    monkeypatch.setattr(processes, "spawn", None)
    with pytest.raises(SystemExit) as ended:
        main(args=["compare", *arguments], prog_name="prefork")
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert said in err
    assert err.startswith("prefork: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["compare", "tune"])
def test_what_is_started_here_is_reached_without_tls(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """So no flag for a certificate is offered."""
    with pytest.raises(SystemExit):
        main(args=[command, "--help"], prog_name="prefork")
    offered = capsys.readouterr().out
    assert "--per-connection" in offered
    assert not [flag for flag in ("--insecure", "--ca", "--server-name") if f"{flag} " in offered]


def test_what_cannot_be_loaded_is_exit_3(scratch: Path) -> None:
    """With the application's own reason, after the line that says what was to come."""
    code, out, err = compare(scratch, "nowhere:Handler", *TINY, "--lines", "prefork", "--rounds", "1")
    assert (code, out) == (3, ""), err
    assert err.splitlines()[-1].startswith("prefork: no module named 'nowhere'")


def test_an_interrupted_comparison_shows_what_it_has(scratch: Path, tmp_path: Path) -> None:
    """^C ends it, and what it had started."""
    saved = tmp_path / "it.json"
    flags = (*TINY, "--lines", "prefork", "--rounds", "1000", "--json", str(saved))
    with comparing(scratch, "echo", *flags) as process:
        assert process.stderr is not None
        while "[3/1000]" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)
        assert [one.title for one in processes_of(process.pid) if not one.is_zombie] == []
    assert process.returncode == 130
    assert "interrupted" in err.splitlines()[-1]
    assert "prefork" in out
    assert len(json.loads(saved.read_text())["cells"][0]["rounds"]) == 2
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("line", ["prefork", "bare", "fork"])
def test_nothing_outlives_a_comparison_that_is_killed(scratch: Path, line: str) -> None:
    """Neither service nor generators, though nobody could stop them."""
    with comparing(scratch, "wait=1s", *TINY, "-d", "60s", "--lines", line, "--rounds", "1") as process:
        assert process.stderr is not None
        while "[1/1]" not in process.stderr.readline():
            pass
        look_until(lambda: is_loaded(process.pid), "its generator runs")


def is_loaded(session: int) -> bool:
    return any("prefork.lab.generator" in one.title for one in processes_of(session))
