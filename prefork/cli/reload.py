"""``prefork reload``: load configuration and code anew, and wait until the new generation serves or is given up."""

import click

from prefork.cli.reaching import ask_and_wait, has_watcher, reaching
from prefork.control.messages import Reload


@click.command()
@reaching
def reload(name: str | None, control: str | None, timeout: str) -> None:
    """Load code and settings anew; wait for the outcome.

    Exit 0 once the new generation serves, in all services; 3, with the reason, where it is given up and the old one
    serves on.
    """
    ask_and_wait(name, control, timeout, Reload(progress=has_watcher()))
