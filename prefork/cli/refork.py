"""``prefork refork``: let a worker that is warm become the mold of the next generation, and tell what that saved."""

import click

from prefork.cli.completing_running import services
from prefork.cli.reaching import ask_and_wait, has_watcher, reaching
from prefork.control.messages import Refork


@click.command()
@click.argument("service", required=False, shell_complete=services)
@reaching
def refork(name: str | None, control: str | None, timeout: str, service: str | None) -> None:
    """Share what a worker of SERVICE has cached with all others.

    The worker that has served the most becomes the mold of the next generation. Exit 0 once that serves and the workers
    before it are gone; 3, with the reason, where it is given up and the old one serves on.
    """
    ask_and_wait(name, control, timeout, Refork(service=service or "", progress=has_watcher()))
