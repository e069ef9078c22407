"""``prefork upgrade``: let a running instance become the version that is installed now, and wait for the outcome."""

import click

from prefork.cli.reaching import ask_and_wait, has_watcher, reaching
from prefork.control.messages import Upgrade


@click.command()
@reaching
def upgrade(name: str | None, control: str | None, timeout: str) -> None:
    """Become the installed version; wait for the outcome.

    Pid, listeners and clients stay, workers are replaced as by a reload. Exit 0 once that serves; 3, with the reason,
    where the installed version does not start or its generation is given up: what served before serves on.
    """
    ask_and_wait(name, control, timeout, Upgrade(progress=has_watcher()))
