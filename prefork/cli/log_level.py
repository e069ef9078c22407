"""``prefork log-level``: log more, or less, without a restart."""

import click

from prefork.cli.reaching import ask_and_wait, reaching
from prefork.control.messages import LogLevel
from prefork.system.logs import LEVELS


@click.command("log-level")
@click.argument("level", metavar="|".join(LEVELS), type=click.Choice(LEVELS))
@reaching
def log_level(name: str | None, control: str | None, timeout: str, level: str) -> None:
    """Log from this level on, in all processes.

    It lasts, over reloads and upgrades too, until a restart.
    """
    ask_and_wait(name, control, timeout, LogLevel(level=level))
