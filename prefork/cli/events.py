"""``prefork events``: what happens to a running instance, or has happened, one line an event."""

import json
import os
import select
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

import click
import msgspec

from prefork.cli.reaching import reached, reaching
from prefork.control.client import Connection, ConnectionEnded
from prefork.control.messages import Events, Reply, Told
from prefork.errors import CommandError

_BEGINNING = 10
_ALL = 2**31  # more than any master remembers


@click.command()
@click.option(
    "--last",
    metavar="N",
    type=click.IntRange(0, _ALL),
    help=f"Begin with so many.  [default: {_BEGINNING}; all, where it does not follow]",
)
@click.option("--follow/--no-follow", default=True, help="Go on, or end with what is remembered.  [default: follow]")
@click.option("--json", "as_json", is_flag=True, help="Print each as JSON, see docs/control.md.")
@reaching
def events(name: str | None, control: str | None, timeout: str, last: int | None, follow: bool, as_json: bool) -> None:
    """Follow what happens, one line an event.

    Begin with the last that have happened, and end with 0 when the instance has ended; with --no-follow at once, when
    what the master remembers is told: at most the last 200.
    """
    threading.Thread(target=_end_with_reader, args=(sys.stdout.fileno(),), daemon=True).start()
    with reached(name, control, timeout) as connection:
        try:
            if follow:
                _follow(connection, _BEGINNING if last is None else last, as_json)
            else:
                _print(connection.ask(Events(last=_ALL if last is None else last, follow=False)), as_json)
        except BrokenPipeError:
            os._exit(0)  # as below: what could not be written must not be tried again


def _follow(connection: Connection, last: int, as_json: bool) -> None:
    try:
        _print(connection.ask(Events(last=last)), as_json)
    except ConnectionEnded:
        if not connection.has_heard:
            raise
    if not connection.wait_end():
        raise CommandError("the connection ended, and the instance goes on: perhaps what it told was not read in time")


def _print(replies: Iterable[Reply], as_json: bool) -> None:
    for reply in replies:
        if isinstance(reply, Told):
            print(as_text(reply) if not as_json else json.dumps(as_plain(reply)), flush=True)


def as_plain(told: Told) -> dict[str, Any]:
    """As ``--json`` prints it."""
    plain: dict[str, Any] = msgspec.to_builtins(told)
    del plain["kind"], plain["version"]
    return plain


def as_text(told: Told) -> str:
    """One line, of a traceback the first and the last."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(told.at))
    first, *others = told.text.splitlines() or [""]
    text = " … ".join([first, *others[-1:]])
    return f"{at} {told.level:<7} {told.event}: {told.service + ': ' if told.service else ''}{text}"


def _end_with_reader(output: int) -> None:
    """Whoever reads us has read enough: do not wait for the next event to find that out."""
    poll = select.poll()
    poll.register(output, 0)  # an end is told without being asked for
    poll.poll()
    os._exit(0)
