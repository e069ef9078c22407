"""The command ``prefork``: one file a command.

It must not know what a command does. Invariant: what a user does wrong is one line on standard error and an exit code.
"""

import sys
from typing import Any

import click

from prefork import __version__
from prefork.cli.check import check
from prefork.cli.refork import refork
from prefork.cli.reload import reload
from prefork.cli.run import run
from prefork.cli.scale import scale
from prefork.cli.status import status
from prefork.cli.stop import stop
from prefork.errors import PreforkError
from prefork.system.stdio import hold_numbers


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="prefork", message="%(prog)s %(version)s")
def cli() -> None:
    """Run synchronous network services in production."""


for command in (run, check, status, reload, refork, scale, stop):
    cli.add_command(command)


def main(**kwargs: Any) -> None:
    """The entry point. Errors of a user's making become one line and their exit code."""
    hold_numbers()
    try:
        cli(**kwargs)
    except PreforkError as error:
        print(f"prefork: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
