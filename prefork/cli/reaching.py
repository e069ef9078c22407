"""What all commands that steer a running instance share: how it is found, and how its progress is shown.

It must not know what is asked.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from prefork.cli.completing import files
from prefork.cli.completing_running import instances
from prefork.cli.progress import Bar
from prefork.config.units import parse_seconds
from prefork.control.client import Connection, ConnectionEnded, connect, find
from prefork.control.messages import Done, Failed, Progress, Reply, Request
from prefork.errors import Exit, UsageError


def reaching(command: Callable[..., None]) -> Callable[..., None]:
    """The flags that say which instance is meant, in front of a command."""
    options = (
        click.option(
            "-n",
            "--name",
            metavar="NAME",
            help="The instance's name; not needed where only one runs.",
            shell_complete=instances,
        ),
        click.option(
            "--control",
            metavar="PATH",
            help="Its control socket, where control names a path.",
            shell_complete=files,
        ),
        click.option("--timeout", metavar="TIME", default="10s", help="Give up if it does not hear.  [default: 10s]"),
    )
    for option in reversed(options):
        command = option(command)
    return command


@contextlib.contextmanager
def reached(name: str | None, control: str | None, timeout: str) -> Iterator[Connection]:
    """:raises PreforkError: it cannot be reached, with the reason and the exit code."""
    try:
        limit = parse_seconds(timeout)
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from None
    with connect(find(name, control), limit) as connection:
        yield connection


def ask_and_wait(name: str | None, control: str | None, timeout: str, request: Request) -> None:
    """Ask for something that may fail, and end as it ends: with what was done, or with exit 3 and the reason."""
    with reached(name, control, timeout) as connection:
        try:
            reply = last_of(connection, request)
        except ConnectionEnded as error:
            reply = Failed(why=str(error))
    if isinstance(reply, Failed):
        click.echo(f"prefork: {reply.why.rstrip()}", err=True)  # of several lines, where it is a traceback
        sys.exit(Exit.NOT_LOADED)
    if isinstance(reply, Done):
        click.echo(reply.text)


def has_watcher() -> bool:
    """Whether somebody looks at what is printed meanwhile."""
    return sys.stderr.isatty()


def last_of(connection: Connection, request: Request) -> Reply:
    """The end of the answer; what comes before it is shown."""
    reply: Any = None
    with Bar() as bar:
        for reply in connection.ask(request):
            if isinstance(reply, Progress):
                bar.show(reply)
    last: Reply = reply
    return last
