"""``prefork tune --live``: how many workers a running service needs, by what it does. Nothing is sent to it."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from prefork.cli.lab_flags import STDOUT, write_json
from prefork.cli.lab_flags import seconds as seconds_of
from prefork.cli.lab_signals import asked_to_stop
from prefork.cli.lab_steps import TimedSteps
from prefork.cli.tune import limit_of_memory
from prefork.cli.tuned import write_profile
from prefork.control.client import DEFAULT_TIMEOUT, Target
from prefork.errors import CommandError, Exit, UsageError
from prefork.lab import live, live_watch, profiles
from prefork.lab.goals import Goal
from prefork.lab.live_advice import LiveAdvice, advise
from prefork.system import cpus

DEFAULT_WINDOW = "60s"
_LEAST_WINDOW = 1.0  # seconds


def tune_live(service: str | None, goals: list[Goal], flags: Mapping[str, Any]) -> None:
    """:param service: ``None`` is each of the instance."""
    window = seconds_of("--window", flags["window"] or DEFAULT_WINDOW) or 0.0
    if window < _LEAST_WINDOW:
        raise UsageError(f"--window: {window:g} s shows nothing; give at least {_LEAST_WINDOW:g}s, or better a minute")
    memory, _ = limit_of_memory(flags["memory"])
    usable = cpus.usable()
    target = Target(flags["name"], flags["control"], service, DEFAULT_TIMEOUT)
    if flags["save_profile"] is not None:
        _refuse_several(live_watch.services(target))
    with asked_to_stop() as stop, TimedSteps(window) as steps:
        steps.say(f"watching for {window:g} s; nothing is sent to the service")
        watched = live_watch.watch(target, window, lambda part: steps.move(part * window), stop)
    for note in watched.notes:
        click.echo(note, err=True)
    windows = [live.window(watched.looks, name) for name in watched.looks[-1].report.workers]
    taken = sum(window.workers_bytes for window in windows)
    found = [advise(one, goals, usable.amount, memory, taken - one.workers_bytes) for one in windows]
    if flags["as_json"] != STDOUT:
        _print(found)
    if flags["as_json"] is not None:
        write_json(flags["as_json"], found)
    if flags["save_profile"] is not None:
        _save(flags["save_profile"], found, usable.amount, memory)
    if stop():
        sys.exit(Exit.INTERRUPTED)
    if any(one.workers is None for one in found):
        sys.exit(Exit.REFUSED)


def _print(found: list[LiveAdvice]) -> None:
    for one in found:
        for line in one.lines:
            click.echo(line)
    if any(one.verdict == "more" for one in found):
        click.echo("not known: whether requests take longer when more of them run at once, as where CPUs are full")


def _refuse_several(services: list[str]) -> None:
    if len(services) > 1:
        raise CommandError(f"--save-profile: a profile is of one service; name one of {', '.join(services)}")


def _save(path: str, found: list[LiveAdvice], usable: float, memory: int) -> None:
    _refuse_several([one.window.service for one in found])  # some may have come
    profile = profiles.of_window(found[0].window, found[0].workers, usable, memory)
    if profile is None:
        raise CommandError("--save-profile: nothing was served, or its memory may not be read; watch longer")
    write_profile(path, profile)
