"""``prefork health``: one line and an exit code, for whoever probes an instance from inside its container or machine.

The same answers as ``/healthz`` and ``/readyz`` of the admin process, without HTTP and without that process.
"""

import click

from prefork.admin.health import why_not_ready
from prefork.cli.reaching import reached, reaching
from prefork.control.client import ask_status
from prefork.errors import CommandError


@click.command()
@click.option("--ready", is_flag=True, help="Exit 1 also where it should get no new clients now, with the reasons.")
@reaching
def health(name: str | None, control: str | None, timeout: str, ready: bool) -> None:
    """Tell whether an instance answers: exit 0; else 1, or 7 where there is none.

    With --ready, whether each of its services is ready for clients: not while it starts, stops, is paused, degraded or
    given up.
    """
    with reached(name, control, timeout) as connection:
        snapshot = ask_status(connection).snapshot
    reasons = why_not_ready(snapshot) if ready else []
    if reasons:
        raise CommandError(f"{snapshot.name} is not ready: {'; '.join(reasons)}")
    click.echo(f"{snapshot.name} {'is ready' if ready else 'answers'}")
