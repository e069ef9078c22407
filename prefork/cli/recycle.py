"""``prefork recycle``: replace workers that serve, each by a successor that is ready first."""

import click

from prefork.cli.completing_running import services, slots
from prefork.cli.reaching import ask_and_wait, has_watcher, reaching
from prefork.control.messages import Recycle
from prefork.errors import UsageError


@click.command()
@click.argument("service", shell_complete=services)
@click.argument("who", metavar="[SLOT|PID]", required=False, shell_complete=slots)
@click.option("--all", "is_all", is_flag=True, help="Replace all of them, as without SLOT and PID.")
@click.option("--now", is_flag=True, help="End what they have under way within a moment, their stacks in the log.")
@reaching
def recycle(
    name: str | None, control: str | None, timeout: str, service: str, who: str | None, is_all: bool, now: bool
) -> None:
    """Replace workers of SERVICE: the one in SLOT or of PID, or all of them.

    Successors are ready first, a few at a time. Exit 0 when those workers are gone; 3, with the reason, where they are
    not replaced.
    """
    if who is not None and is_all:
        raise UsageError(f"{who} and --all: one worker or all of them; leave one of the two out")
    if who is not None and not (who.isascii() and who.isdecimal() and len(who) < 10):
        raise UsageError(f"{who!r} is neither a slot nor a pid; see prefork status")
    number = None if who is None else int(who)
    ask_and_wait(name, control, timeout, Recycle(service=service, who=number, now=now, progress=has_watcher()))
