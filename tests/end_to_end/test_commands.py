"""Commands of operators: run by the master at their moment, bounded, and never in its way."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.clients import ask
from tests.end_to_end.harness import ROOT, STREAM, TCP, Application, Gate, Master, Watched, look_until, serving

SHOP = ("-n", "shop", "-b", TCP, "-w", "1")
Script = Callable[..., str]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Writes a program; its path."""

    def write(*lines: str, name: str = "told") -> str:
        path = tmp_path / name
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)
        return str(path)

    return write


TELL = 'echo "$PREFORK_NAME/$PREFORK_SERVICE $PREFORK_EVENT g$PREFORK_GENERATION $PREFORK_OUTCOME: $PREFORK_WHY, $*"'


def at_gate(gate: Gate) -> str:
    """A line of a script: wait at the gate."""
    python = f"import sys; sys.path.insert(0, '{ROOT}'); from tests.end_to_end.apps import pass_gate"
    news = "$PREFORK_EVENT $PREFORK_OUTCOME $PREFORK_GENERATION"
    return f"{sys.executable} -c \"{python}; pass_gate('{gate.path}', '{news}')\""


def test_each_is_told_what_happened(script: Script, application: Application, tmp_path: Path) -> None:
    """In its environment; what it prints is in the log, line by line."""
    told = script(TELL, "echo and more >&2")
    config = tmp_path / "prefork.toml"
    target, _, path = application.arguments
    text = f"name = 'shop'\nlog_level = 'debug'\n[service.echo]\ntarget = '{target}'\npythonpath = ['{path}']\n"
    text += f"bind = ['{TCP}']\nworkers = 1\non_ready = '{told} \"a word\"'\non_reload = ['{told}', 'b']\n"
    config.write_text(text)
    with serving("-c", str(config)) as master:
        master.wait_for("shop/echo ready g1 : , a word")
        master.wait_for("and more")
        master.signal(signal.SIGHUP)
        master.wait_for("shop/echo reload g2 serves: , b")
        application.path.write_text("import nowhere")
        master.signal(signal.SIGHUP)
        master.wait_for("shop/echo reload g3 abandoned: ")
        master.wait_for("ModuleNotFoundError: No module named 'nowhere'")
        config.write_text("nonsense")
        master.signal(signal.SIGHUP)
        master.wait_for("shop/echo reload g2 refused: ")
        config.write_text(text)


def test_a_failure_is_told_before_the_master_ends(script: Script) -> None:
    """It waits for that command, and exits as it would have."""
    with Master("nosuch:Handler", *SHOP, "--on-failed", script(TELL)) as master:
        master.expect_exit(3)
        assert master.lines("shop/nosuch failed g1 : no module named 'nosuch'")


def test_a_command_that_waits_is_in_nobodys_way(script: Script, gate: Gate) -> None:
    """The service serves, and of what happens meanwhile the last is told, once it has ended."""
    with serving(STREAM, *SHOP, "--on-reload", script(at_gate(gate)), "--command-timeout", "1h") as master:
        master.signal(signal.SIGHUP)
        visitor = gate.visitor()
        for generation in (3, 4):
            master.signal(signal.SIGHUP)
            master.wait_serving(generation)
        assert ask(master.bind(), "hello") == "HELLO"
        assert visitor.news == "reload serves 2"
        visitor.let_pass()
        last = gate.visitor()
        assert last.news == "reload serves 4"
        last.let_pass()


def test_one_that_takes_too_long_is_killed_with_all_it_started(script: Script, gate: Gate) -> None:
    """One warning; and the service knows nothing of it."""
    with serving(STREAM, *SHOP, "--on-ready", script(at_gate(gate)), "--command-timeout", "1s") as master:
        with Watched([gate.visitor().pid]) as helper:
            helper.wait_all()
        master.wait_for("is killed: it takes longer than command_timeout, 1 s")
        assert ask(master.bind(), "hello") == "HELLO"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_end_of_the_master_is_theirs(signum: int, script: Script, gate: Gate) -> None:
    """Neither a stop nor the exit waits for a command of a service that was ready."""
    with serving(STREAM, *SHOP, "--on-ready", script(at_gate(gate)), "--command-timeout", "1h") as master:
        with Watched([gate.visitor().pid]) as helper:
            master.signal(signum)
            helper.wait_all()
        master.expect_exit(0)


def test_a_stop_does_not_wait_for_the_news_of_a_failure(script: Script, gate: Gate) -> None:
    """Who cannot wait for it any longer says so."""
    arguments = ("--on-failed", script(at_gate(gate)), "--command-timeout", "1h")
    with Master("nosuch:Handler", *SHOP, *arguments) as master:
        gate.visitor()
        master.signal(signal.SIGTERM)
        master.expect_exit(3)


def test_a_killed_master_takes_its_command_along(script: Script, gate: Gate) -> None:
    """What the command itself has started is its own business."""
    with Master(STREAM, *SHOP, "--on-ready", script("exec " + at_gate(gate))) as master:
        master.wait_serving()
        with Watched([gate.visitor().pid]) as helper:
            master.signal(signal.SIGKILL)
            helper.wait_all()


def test_a_failing_command_is_one_warning(script: Script) -> None:
    """With its exit code; and one that cannot be executed at all likewise."""
    broken = script("exit 7")
    mute = script(name="mute")
    Path(mute).write_text("#!/nowhere/sh\n")
    with serving(STREAM, *SHOP, "--on-ready", broken, "--on-reload", mute) as master:
        assert "WARNING" in master.wait_for("exited with 7")
        master.signal(signal.SIGHUP)
        master.wait_for(f"cannot run {mute}: No such file or directory")
        assert "WARNING" in master.wait_for("exited with 127")


def test_one_that_prints_for_ever_is_not_read_for_ever(script: Script) -> None:
    """200 lines; then it writes to nobody, and dies of that."""
    with serving(STREAM, *SHOP, "--on-ready", script("exec yes spam"), "--command-timeout", "1h") as master:
        master.wait_for("prints more than 200 lines, and nobody reads on")
        master.wait_for("was killed by SIGPIPE")
        assert len([line for line in master.lines("spam") if line.endswith(" spam")]) == 200


def test_commands_cost_no_descriptor(script: Script) -> None:
    """However many there were, and whatever they have left behind."""
    with serving(STREAM, *SHOP, "--on-reload", script("sleep 1000 > /dev/null 2>&1 < /dev/null &", TELL)) as master:
        descriptors = Path(f"/proc/{master.pid}/fd")
        before = len(list(descriptors.iterdir()))
        for generation in range(2, 6):
            master.signal(signal.SIGHUP)
            master.wait_for(f"reload g{generation} serves")
            look_until(lambda: len(list(descriptors.iterdir())) == before, "the command is forgotten")

        def left() -> list[int]:
            return [process.pid for process in master.children() if process.title.startswith("sleep")]

        look_until(lambda: len(left()) == 4, "strangers that the command left behind are the sub-reaper's")
        master.kill(*left())
