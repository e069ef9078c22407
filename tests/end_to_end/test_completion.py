"""Shells complete our command line: commands and flags, and the names of what runs now."""

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.clients import LIMIT
from tests.end_to_end.harness import ROOT, STREAM, TCP, Master, serving
from tests.long import long_but

NAME = f"completed-{os.getpid()}"
SERVICE = "apps"
needs_zsh = pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
needs_fish = pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")


@pytest.fixture(scope="module")
def running() -> Iterator[Master]:
    with serving(STREAM, "-b", TCP, "-w", "2", "-n", NAME) as master:
        yield master


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where ``prefork`` is a program that a shell finds, and no file of the user's is read."""
    home = tmp_path_factory.mktemp("home")
    program = home / "prefork"
    program.write_text(f"#!{sys.executable}\nfrom prefork.cli import main\nmain()\n")
    program.chmod(0o755)
    path = f"{home}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "PYTHONPATH": str(ROOT), "TERM": "xterm", "LC_ALL": "C.UTF-8"}


def by_bash(environment: dict[str, str], *words: str) -> list[str]:
    """What bash would offer for the last word."""
    script = (
        'eval "$(prefork completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        ' _prefork_completion prefork; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "--norc", "-c", script, "bash", "prefork", *words]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=LIMIT)
    assert done.stderr == ""
    return done.stdout.split()


OFFERED: list[tuple[list[str], list[str]]] = [
    (["sta"], ["status"]),
    (["completion", "z"], ["zsh"]),
    (["ini"], ["init"]),
    (["init", "--sys"], ["--systemd"]),
    (["init", "--log-level", "w"], ["warning"]),
    (["doctor", NAME[:-1]], [NAME]),
    (["doctor", "--un"], ["--unit"]),
    (["run", "--log-level", "w"], ["warning"]),
    (["status", "-n", NAME[:-1]], [NAME]),
    (["scale", "-n", NAME, ""], [SERVICE]),
    (["recycle", "-n", NAME, SERVICE, ""], ["1", "2"]),
    (["dump", "-n", NAME, ""], ["1", "2"]),
    (["dump", "-n", NAME, SERVICE, ""], ["1", "2"]),
    (["log-level", "w"], ["warning"]),
    (["compare", "c"], ["cpu"]),
    (["compare", "--lines", "pre"], ["prefork"]),
    (["compare", "--lines", "fork,stdlib-f"], ["fork,stdlib-fork"]),
    (["compare", "--lines", "hybrid,h"], []),
    (["tune", "s"], ["slow-client"]),
    (["tune", "--live", "-n", NAME, ""], [SERVICE]),
    (["status", "--name", NAME, "x"], []),
    (["status", "-n", "nobody-of-that-name", ""], []),
    (["status", "--control", "/nonexistent/socket", ""], []),
]
FEW = [(["sta"], ["status"]), (["recycle", "-n", NAME, SERVICE, ""], ["1", "2"]), (["log-level", "w"], ["warning"])]


@pytest.mark.parametrize(("words", "offered"), long_but(OFFERED, *FEW))
def test_bash_completes_what_runs(
    words: list[str], offered: list[str], running: Master, environment: dict[str, str]
) -> None:
    """Of the instance that the line names; where nobody answers, nothing is offered and nothing said."""
    assert by_bash(environment, *words) == offered


def test_a_flag_that_takes_a_file_is_left_to_the_shell(environment: dict[str, str]) -> None:
    """It knows files better; we only say that it is one."""
    line = {"COMP_WORDS": "prefork\nrun\n-c\npre", "COMP_CWORD": "3", "_PREFORK_COMPLETE": "bash_complete"}
    told = subprocess.check_output([f"{environment['HOME']}/prefork"], env=environment | line, text=True, timeout=LIMIT)
    assert told == "file,pre\n"


def test_an_instance_that_does_not_answer_costs_a_moment_and_nothing_else(
    running: Master, environment: dict[str, str]
) -> None:
    """Whoever presses a key is not told of time-outs."""
    running.signal(signal.SIGSTOP)
    try:
        assert by_bash(environment, "scale", "-n", NAME, "") == []
    finally:
        running.signal(signal.SIGCONT)


@needs_fish
def test_fish_completes_what_runs(running: Master, environment: dict[str, str]) -> None:
    """By its own completion of a line."""
    script = f"prefork completion fish | source; complete -C 'prefork scale -n {NAME} ap'"
    told = subprocess.check_output(["fish", "-c", script], env=environment, text=True, timeout=LIMIT)
    assert told.split() == [SERVICE]


@needs_zsh
def test_zsh_completes_what_runs(running: Master, environment: dict[str, str]) -> None:
    """A line that is typed, up to the key that completes it."""
    with typing(["zsh", "-f", "-i"], environment) as shell:
        shell.type("PS1='ready> '; bindkey -e; autoload -U compinit; compinit -u -D\n")
        shell.wait_for("[Jready> ")  # drawn, and not the echo of what was typed
        shell.type('eval "$(prefork completion zsh)"\n')
        shell.type(f"prefork scale -n {NAME} ap\t\x01echo \n")  # once completed, it is printed
        shell.wait_for(f"\nprefork scale -n {NAME} {SERVICE}")


class Typed:
    """A terminal with a shell in it."""

    def __init__(self, end: int) -> None:
        self._end = end
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + LIMIT
        while text not in self.seen:
            ready, _, _ = select.select([self._end], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"not within {LIMIT:g} s: {text!r} in {self.seen!r}"
            self.seen += os.read(self._end, 65536).decode(errors="replace")


@contextlib.contextmanager
def typing(command: list[str], environment: dict[str, str]) -> Iterator[Typed]:
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, cwd=Path("/")
    )
    os.close(theirs)
    try:
        yield Typed(ours)
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
