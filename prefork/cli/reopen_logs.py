"""``prefork reopen-logs``: open log files anew, after they were moved away."""

import click

from prefork.cli.reaching import ask_and_wait, reaching
from prefork.control.messages import ReopenLogs


@click.command("reopen-logs")
@reaching
def reopen_logs(name: str | None, control: str | None, timeout: str) -> None:
    """Open log files anew, in all processes, as USR1 does."""
    ask_and_wait(name, control, timeout, ReopenLogs())
