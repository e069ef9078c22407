"""``prefork top``: what a running instance does, live, and keys that steer it."""

import os
import signal
from importlib.util import find_spec

import click

from prefork.cli.completing_running import services
from prefork.cli.reaching import reached, reaching
from prefork.config.units import parse_seconds
from prefork.control.client import Target, ask_status
from prefork.errors import CommandError, UsageError
from prefork.system.usage import GLANCE, Census

LEAST_INTERVAL = 0.1  # seconds


@click.command()
@click.argument("service", required=False, shell_complete=services)
@click.option("--interval", metavar="TIME", default="1s", help="From one look to the next.  [default: 1s]")
@reaching
def top(name: str | None, control: str | None, timeout: str, service: str | None, interval: str) -> None:
    """Watch an instance and its workers, or those of one SERVICE; q quits, ? tells the other keys.

    Workers can be recycled and dumped, services scaled and paused.
    """
    try:
        seconds = parse_seconds(interval)
    except ValueError as error:
        raise UsageError(f"--interval: {error}") from None
    if seconds < LEAST_INTERVAL:
        raise UsageError(f"--interval: {interval} is too short; {LEAST_INTERVAL:g}s is the least")
    if find_spec("rich") is None:
        raise CommandError("top needs the package rich, which is not installed; try: pip install 'prefork[top]'")
    from prefork.top.loop import Top
    from prefork.top.screen import Screen

    screen = Screen()
    with reached(name, control, timeout) as connection:
        first = ask_status(connection).of(service)
    first = first._replace(usage=Census().look(first.pids, GLANCE))
    target = Target(first.snapshot.name, control, service, parse_seconds(timeout))
    ended_by = Top(screen, target, seconds, first).run()
    if ended_by is not None:  # by a signal: end as everybody ends by it, now that the terminal is as it was
        signal.signal(ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), ended_by)
