"""The framework without a network: a server whose requests are rows of a table, here numbers to factorize.

    export ROWS=/tmp/rows.sqlite
    python -m examples.rows add 360 97 1000036000099 seven
    python -m examples.rows serve       # as many of them as you like, until ^C
    python -m examples.rows list

or, with workers that are counted, replaced and reloaded: ``prefork run examples.rows:Rows --bind none -w 4``.

A server needs no socket. This one has no ``fileno``, so its ``get_request`` is asked every ``poll_interval``, and again
at once as long as it gives a row; BlockingIOError means "nothing there".

A row is *open*, then *taken* by one process, then *done* when the handler answers. One whose handler failed is given
back, and is *failed* after three tries. One whose process was killed stays taken until its claim has run out, and then
anybody may take it. So a row may be worked on twice, but only the last who took it can answer.
"""

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from prefork.socketserver import BaseRequestHandler, BaseServer

DATABASE = os.environ.get("ROWS", "rows.sqlite")
BUSY = 10.0  # seconds a process waits for its turn at the database
LEASE = 60.0  # seconds after which a taken row may be taken again
TRIES = 3

TABLE = """
CREATE TABLE IF NOT EXISTS rows (
    id INTEGER PRIMARY KEY,
    number TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open',  -- open, taken, done or failed
    tries INTEGER NOT NULL DEFAULT 0,    -- with the id, it names a claim
    claimed_by INTEGER,                  -- a pid, for people
    claimed_at REAL,
    factors TEXT NOT NULL DEFAULT ''
)
"""
CLAIM = """
UPDATE rows SET state = 'taken', tries = tries + 1, claimed_by = :pid, claimed_at = :now
WHERE id = (
    SELECT id FROM rows WHERE state = 'open' OR (state = 'taken' AND claimed_at < :now - :lease)
    ORDER BY tries, id LIMIT 1
)
RETURNING id, number, tries
"""
ANSWER = "UPDATE rows SET state = 'done', factors = ? WHERE id = ? AND tries = ? AND state = 'taken'"
GIVE_BACK = """
UPDATE rows SET state = CASE WHEN tries < ? THEN 'open' ELSE 'failed' END WHERE id = ? AND tries = ? AND state = 'taken'
"""


class Row(NamedTuple):
    """A row of work, claimed for the time of one try."""

    id: int
    number: str
    tries: int


@contextmanager
def transaction(path: str) -> Iterator[sqlite3.Connection]:
    """One transaction that may write, on a connection of its own: none is ever carried through a fork."""
    with closing(sqlite3.connect(path, timeout=BUSY, isolation_level=None)) as database, database:
        database.execute("BEGIN IMMEDIATE")
        database.execute(TABLE)
        yield database


class Factors(BaseRequestHandler):
    """The work: a request is a row, and there is nobody to reply to but the table."""

    def handle(self) -> None:
        row: Row = self.request
        factors = " * ".join(str(factor) for factor in factorize(int(row.number)))
        self.server.answer(row, factors)
        print(f"process {os.getpid()}: {row.number} = {factors}", flush=True)


def factorize(number: int) -> Iterator[int]:
    factor = 2
    while factor * factor <= number:
        while number % factor == 0 and number > factor:
            yield factor
            number //= factor
        factor += 1
    yield number


class Rows(BaseServer):
    """Serves the open rows of a table.

    :param server_address: the path of the database.
    """

    def __init__(
        self,
        server_address: str | None = None,
        RequestHandlerClass: Any = Factors,  # noqa: N803  the framework's name
    ) -> None:
        super().__init__(server_address or DATABASE, RequestHandlerClass)

    def get_request(self) -> tuple[Row, str]:
        """Take a row; its place in the log is that of a client's address."""
        with transaction(self.server_address) as database:
            claim = {"pid": os.getpid(), "now": time.time(), "lease": LEASE}
            taken = [Row(*values) for values in database.execute(CLAIM, claim)]
        if not taken:
            raise BlockingIOError("no row is open")
        return taken[0], f"row {taken[0].id}"

    def answer(self, row: Row, factors: str) -> None:
        """The handler's reply: the row is done, unless its claim ran out and somebody else has it."""
        with transaction(self.server_address) as database:
            database.execute(ANSWER, (factors, row.id, row.tries))

    def shutdown_request(self, request: Any) -> None:
        """Give back what was not answered. Called once the handler has ended, by an error or without one."""
        with transaction(self.server_address) as database:
            database.execute(GIVE_BACK, (TRIES, request.id, request.tries))
        self.close_request(request)


def add(numbers: list[str], path: str = DATABASE) -> None:
    with transaction(path) as database:
        database.executemany("INSERT INTO rows (number) VALUES (?)", [(number,) for number in numbers])


def serve() -> None:
    """Until INT or TERM, which let the row at hand be finished."""
    with Rows() as server:
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, lambda number, frame: server.shutdown())
        server.serve_forever()


def table(path: str = DATABASE) -> list[tuple[str, str, int, str]]:
    """Number, state, tries and factors of all rows."""
    with transaction(path) as database:
        return database.execute("SELECT number, state, tries, factors FROM rows ORDER BY id").fetchall()


def main(command: str = "", *numbers: str) -> None:
    if command == "add" and numbers:
        add(list(numbers))
    elif command == "serve":
        serve()
    elif command == "list":
        for number, state, tries, factors in table():
            print(f"{state:6} {number} {f'= {factors}' if factors else f'after {tries} tries'}")
    else:
        sys.exit("usage: python -m examples.rows add NUMBER... | serve | list")


if __name__ == "__main__":
    main(*sys.argv[1:])
