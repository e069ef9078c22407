"""``prefork run``: from the command line to a running master."""

import sys
from typing import Any

import click

from prefork.cli.run_flags import read_sources, sources
from prefork.config.instance import Instance
from prefork.master.loop import run as run_master


@click.command()
@sources
def run(target: str | None, config: str | None, **flags: Any) -> None:
    """Serve TARGET by a master and its preforked workers.

    TARGET is the MODULE:NAME of a request handler class, of a server class, or of a function that returns a server.

    \b
    prefork run mymodule:Handler --bind tcp://0.0.0.0:9000 --workers 8
    prefork run -c prefork.toml

    Settings come from the file, then from PREFORK_… variables, then from these flags; later wins. Without TARGET and -c
    the file is prefork.toml in the working directory.
    """

    def reread() -> Instance:
        return read_sources(target, config, flags).instance

    sys.exit(run_master(reread))
