"""``prefork dump``: where a worker is, as the stacks of its threads."""

import click

from prefork.cli.completing_running import workers
from prefork.cli.reaching import ask_and_wait, reaching
from prefork.control.messages import Dump
from prefork.errors import UsageError


@click.command()
@click.argument("worker", metavar="[SERVICE] SLOT|PID", nargs=-1, required=True, shell_complete=workers)
@reaching
def dump(name: str | None, control: str | None, timeout: str, worker: tuple[str, ...]) -> None:
    """Print the Python stacks of a worker, by its slot or else its pid.

    It goes on meanwhile. Exit 3, with the reason, where it does not tell. SERVICE may be left out where there is one.
    """
    *services, who = worker
    if len(services) > 1 or not (who.isascii() and who.isdecimal()) or len(who) > 9:
        raise UsageError(f"{' '.join(worker)!r} is no worker; give its slot, as 2, or its pid, its service before it")
    ask_and_wait(name, control, timeout, Dump(service="".join(services), who=int(who)))
