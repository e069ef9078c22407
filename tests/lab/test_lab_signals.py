"""How commands of the lab end before their time: with the code that shells know, and only once all is put away."""

import os
import signal
from importlib import import_module
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner

from prefork import cli
from prefork.cli.lab_signals import asked_to_stop, ends_in_order


def handlers() -> list[Any]:
    return [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_told_to_end_puts_all_away_first(signum: int, code: int) -> None:
    """Undisturbed by those who tell it again."""
    put_away = []

    @ends_in_order
    def command() -> None:
        try:
            os.kill(os.getpid(), signum)
            signal.pause()
        finally:
            for again in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                os.kill(os.getpid(), again)
            put_away.append(True)

    before = handlers()
    for usual in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(usual, signal.SIG_DFL)
    with pytest.raises(SystemExit) as ended:
        command()
    assert (ended.value.code, put_away) == (code, [True])
    for usual, handler in zip((signal.SIGTERM, signal.SIGHUP), before, strict=False):
        signal.signal(usual, handler)
    assert handlers() == before


def test_what_nohup_ignores_stays_ignored() -> None:
    """A load may go on when its terminal is gone."""

    @ends_in_order
    def command() -> None:
        os.kill(os.getpid(), signal.SIGHUP)

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_second_interrupt_ends_at_once() -> None:
    """The first one asks."""
    with asked_to_stop() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("command", ["load", "compare", "tune", "plan", "status"])
def test_an_interrupt_is_130_while_a_command_is_imported(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is said of it."""

    def interrupted(name: str) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupted)
    found = CliRunner().invoke(cli.cli, [command])
    assert (found.exit_code, found.output) == (130, "")


def test_an_interrupt_is_130_while_what_was_saved_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to tell before it ends."""

    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("prefork.cli.compare"), "read_saved", interrupted)
    found = CliRunner().invoke(cli.cli, ["compare", "--from", "it.json"])
    assert (found.exit_code, found.output) == (130, "")
