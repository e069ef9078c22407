"""``prefork top`` in a real terminal: what it shows, what its keys do, and that it leaves the terminal as it was."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.end_to_end.clients import LIMIT, Question
from tests.end_to_end.harness import ROOT, STREAM, TCP, Gate, look_until, serving
from tests.end_to_end.test_control import run

NAME = f"top-{os.getpid()}"
TOP = f"{sys.executable} -m prefork top -n {NAME} --interval 100ms"
PROMPT = "ready>"
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
pytestmark = needs_tmux


class Terminal:
    """A shell in a terminal of its own, 100 by 30."""

    _numbers = itertools.count()

    def __init__(self) -> None:
        self._server = f"{NAME}-{next(self._numbers)}"  # one that was just told to end would still answer
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", f"PS1='{PROMPT} ' bash --norc -i")
        self.wait_for(PROMPT)

    def _tmux(self, *arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
        environment.pop("TMUX", None)
        command = ["tmux", "-L", self._server, *arguments]
        done = subprocess.run(command, env=environment, cwd=ROOT, text=True, capture_output=True, timeout=LIMIT)
        return done.stdout

    @property
    def text(self) -> str:
        return self._tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        """Names of keys as tmux has them, or text."""
        self._tmux("send-keys", *keys)

    def enter(self, line: str) -> None:
        self._tmux("send-keys", "-l", line)
        self.press("Enter")

    def resize(self, columns: int, lines: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def wait_for(self, pattern: str) -> "re.Match[str]":
        """A line of the screen in which it is found."""
        found: list[re.Match[str]] = []

        def is_there() -> bool:
            match = re.search(pattern, self.text, re.MULTILINE)
            found[:] = [match] if match else []
            return bool(match)

        try:
            look_until(is_there, f"{pattern!r} on the screen")
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.text}") from None
        return found[0]

    def expect_restored(self) -> None:
        """The shell's screen, a cursor that is seen, keys with echo and by lines."""
        look_until(lambda: self._flags() == "alternate 0, cursor 1", f"the terminal is as it was: {self._flags()}")
        self.enter("clear; echo $?; stty -a")
        modes = self.wait_for(r"(?s)^(\d+)\n(.*-extproc)")[2]
        assert {"icanon", "echo", "isig"} <= set(modes.split()), modes

    def _flags(self) -> str:
        return self._tmux("display-message", "-p", "alternate #{alternate_on}, cursor #{cursor_flag}").strip()

    def pid_of(self, program: str) -> int:
        """Of the program that runs in it."""
        shell = int(self._tmux("display-message", "-p", "#{pane_pid}"))
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        return next(int(pid) for pid in children if program in Path(f"/proc/{pid}/cmdline").read_text())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._tmux("kill-server")


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal() as terminal:
        yield terminal


def test_it_shows_what_workers_do_and_its_keys_steer(terminal: Terminal, gate: Gate) -> None:
    """A held request is seen with its peer; a worker more is seen when it is there; a recycle is asked about."""
    with serving(STREAM, "-b", TCP, "-w", "2", "-n", NAME) as master:
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        terminal.enter(TOP)
        terminal.wait_for(rf"^{NAME} \[{master.pid}\] .* memory [\d.]+M in 4 processes")
        terminal.wait_for(rf"^.  +\d  +{visitor.pid}  busy .* [\d.]+s 127\.0\.0\.1:\d+ #1$")
        terminal.wait_for("1 busy")
        terminal.wait_for("queue +▁+ 0 +busy +▅")
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        terminal.wait_for(rf"^.  +\d  +{visitor.pid}  idle")
        terminal.press("+")
        terminal.wait_for("^apps: workers wanted: 3 instead of 2")
        terminal.wait_for("3 of 3 workers ready")
        terminal.press("x")
        first = master.workers()[1]
        terminal.wait_for(rf"^recycle worker 1 \[{first}\] of apps\? y/n")
        terminal.press("n")
        terminal.wait_for(rf"^recycle worker 1 \[{first}\] of apps: not done")
        terminal.press("x", "y")
        terminal.wait_for(rf"^apps: worker 1 \[{first}\] was replaced")
        terminal.press("p", "y")
        terminal.wait_for("healthy; paused, clients queue; ")
        waiting = Question(master.bind(), "hello")
        terminal.wait_for("^  queue 1;")
        terminal.press("p")
        terminal.wait_for(r"^resume apps\? y/n")
        terminal.press("y")
        assert waiting.answer() == "HELLO"
        terminal.wait_for("^. apps  healthy; generation")
        terminal.press("q")
        terminal.expect_restored()


def test_the_terminal_is_put_back_however_it_ends(terminal: Terminal) -> None:
    """By the interrupt key, by a signal, by a fault of its own; stopped and gone on; in a window that changes."""
    with serving(STREAM, "-b", TCP, "-w", "1", "-n", NAME):
        terminal.enter(TOP)
        terminal.wait_for("1 of 1 workers ready")
        terminal.press("C-c")
        terminal.expect_restored()

        terminal.enter(TOP)
        terminal.wait_for("1 of 1 workers ready")
        os.kill(terminal.pid_of("top"), signal.SIGTERM)
        terminal.wait_for("Terminated")
        terminal.expect_restored()

        fault = "import prefork.top.loop as l; l.Keys.read = None; from prefork.cli import main; main()"
        terminal.enter(f"{sys.executable} -c '{fault}' top -n {NAME}")
        terminal.wait_for("1 of 1 workers ready")
        terminal.press("a")
        terminal.wait_for("TypeError")
        terminal.expect_restored()

        terminal.enter(TOP)
        terminal.wait_for("1 of 1 workers ready")
        terminal.press("C-z")
        terminal.wait_for("Stopped")
        terminal.expect_restored()
        terminal.enter("fg")
        terminal.wait_for("1 of 1 workers ready")
        terminal.resize(38, 9)
        terminal.wait_for("38 by 9 is too small")
        terminal.resize(60, 20)
        terminal.wait_for("^q quit .*…$")  # the last column too
        terminal.resize(100, 20)
        terminal.wait_for("1 of 1 workers ready")
        terminal.press("q")
        terminal.expect_restored()


def test_an_instance_that_hangs_or_ends_freezes_nothing(terminal: Terminal) -> None:
    """Keys work while a command waits for its answer; who is gone is told, and who comes again is seen."""
    with serving(STREAM, "-b", TCP, "-w", "1", "-n", NAME) as master:
        terminal.enter(f"{TOP} --timeout {10 * LIMIT:g}s")
        terminal.wait_for("1 of 1 workers ready")
        master.signal(signal.SIGSTOP)
        try:
            terminal.press("+")
            terminal.wait_for("^scale apps [+]1 …")
            terminal.press("?")
            terminal.wait_for("what the keys do")
            terminal.press("?")
            terminal.wait_for(rf"^{NAME} \[{master.pid}\], as it was \d+s ago: it does not answer$")
        finally:
            master.signal(signal.SIGCONT)
        terminal.wait_for("2 of 2 workers ready")
    terminal.wait_for(rf"as it was .*: no instance {NAME} runs here")
    with serving(STREAM, "-b", TCP, "-w", "3", "-n", NAME) as master:
        terminal.wait_for(rf"^{NAME} \[{master.pid}\]  prefork")
        terminal.wait_for("3 of 3 workers ready")
        terminal.press("q")
        terminal.expect_restored()


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ((), 2, "top needs a terminal"),
        (("--interval", "soon"), 2, "--interval: 'soon' is no duration"),
        (("--interval", "1ms"), 2, "--interval: 1ms is too short; 0.1s is the least"),
    ],
)
def test_what_cannot_be_shown_is_one_line(arguments: tuple[str, ...], code: int, why: str) -> None:
    """And an exit code; nothing is drawn."""
    outcome = run("top", "-n", NAME, *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith(f"prefork: {why}")
    assert outcome.err.count("\n") == 1


def test_without_rich_the_remedy_is_told() -> None:
    """It is needed by nothing else."""
    code = "import sys; sys.modules['rich'] = None; sys.argv[1:] = ['top']; from prefork.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, timeout=LIMIT)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr == "prefork: top needs the package rich, which is not installed; try: pip install 'prefork[top]'\n"
    )


def test_who_is_not_there_is_told_before_anything_is_drawn(terminal: Terminal) -> None:
    """With the exit code of all commands."""
    terminal.enter(f"{TOP}; echo exit $?")
    terminal.wait_for(f"prefork: no instance {NAME} runs here")
    terminal.wait_for("exit 7")
    with serving(STREAM, "-b", TCP, "-w", "1", "-n", NAME):
        terminal.enter(f"{TOP} shop; echo exit $?")
        terminal.wait_for("there is no service 'shop'; there is apps")
        terminal.wait_for("exit 1")
        terminal.enter(f"TERM=dumb {TOP}; echo exit $?")
        terminal.wait_for("TERM is 'dumb'; use prefork status")
        terminal.wait_for("exit 2")
