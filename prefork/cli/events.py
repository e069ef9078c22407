"""``prefork events``: follow what happens to a running instance, one line an event."""

import json
import os
import select
import sys
import threading
import time
from typing import Any

import click
import msgspec

from prefork.cli.reaching import reached, reaching
from prefork.control.client import Connection, ConnectionEnded
from prefork.control.messages import Events, Told
from prefork.errors import CommandError


@click.command()
@click.option("--last", metavar="N", type=click.IntRange(0), default=10, show_default=True, help="Begin with so many.")
@click.option("--json", "as_json", is_flag=True, help="Print each as JSON, see docs/control.md.")
@reaching
def events(name: str | None, control: str | None, timeout: str, last: int, as_json: bool) -> None:
    """Follow what happens, one line an event.

    Begin with the last that have happened, and end with 0 when the instance has ended.
    """
    threading.Thread(target=_end_with_reader, args=(sys.stdout.fileno(),), daemon=True).start()
    with reached(name, control, timeout) as connection:
        try:
            _follow(connection, last, as_json)
        except BrokenPipeError:
            os._exit(0)  # as below: what could not be written must not be tried again


def _follow(connection: Connection, last: int, as_json: bool) -> None:
    try:
        for reply in connection.ask(Events(last=last)):
            if isinstance(reply, Told):
                print(as_text(reply) if not as_json else json.dumps(as_plain(reply)), flush=True)
    except ConnectionEnded:
        if not connection.has_heard:
            raise
    if not connection.wait_end():
        raise CommandError("the connection ended, and the instance goes on: perhaps what it told was not read in time")


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
