"""A guestbook: state that outlives its workers, in SQLite.

    GUESTBOOK=/tmp/guestbook.sqlite prefork run examples.guestbook:Handler -b tcp://127.0.0.1:8000 -w 4
    curl -i http://127.0.0.1:8000/
    curl -i http://127.0.0.1:8000/ -d name=Ada -d text=Hello

What prefork asks of an application is here in two rules.

No state in the process. The next request goes to another worker, and any worker may be gone by then. What is to last is
committed before the client hears of it. The ``Server`` header says which process answered, to watch them take turns.

Connections after the fork. The application is imported once and then forked, so a connection opened by the import would
be one connection in the hands of all workers. Each process opens its own when it first needs it, and one that came
through a fork is left alone: merely closing it would disturb its owner.
"""

import fcntl
import html
import os
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs

DATABASE = os.environ.get("GUESTBOOK", "guestbook.sqlite")
BUSY = 10.0  # seconds a writer waits for its turn
LONGEST_BODY, LONGEST_NAME, LONGEST_TEXT = 8192, 40, 500
SHOWN = 100  # entries

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Guestbook</title>
<form method="post">
<input name="name" placeholder="your name" required> <input name="text" placeholder="your words" required>
<button>Write</button>
</form>
<ul>
{entries}</ul>
"""

_connections: dict[tuple[int, int], sqlite3.Connection] = {}  # by process and thread


def database() -> sqlite3.Connection:
    """The connection of this process, and of this thread where one process has several."""
    owner = os.getpid(), threading.get_ident()
    if owner not in _connections:
        _connections[owner] = open_database()
    return _connections[owner]


def open_database() -> sqlite3.Connection:
    connection = sqlite3.connect(DATABASE, timeout=BUSY, isolation_level=None)
    # the switch to WAL does not wait its turn: of several processes that meet in a new file, some would fail
    with open(f"{DATABASE}-lock", "w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        connection.execute("PRAGMA journal_mode = WAL")  # who reads and who writes do not wait for each other
        connection.execute("CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, name TEXT, text TEXT)")
    return connection


class Handler(BaseHTTPRequestHandler):
    timeout = 10.0  # seconds for each read and write: a client that says nothing gives its worker back

    def do_GET(self) -> None:
        if self.path != "/":
            self.send_error(404)
            return
        newest = database().execute("SELECT name, text FROM entries ORDER BY id DESC LIMIT ?", (SHOWN,))
        entries = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(text)}</li>\n" for name, text in newest)
        page = PAGE.format(entries=entries).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def do_POST(self) -> None:
        try:
            entry = self.read_entry()
        except ValueError as error:
            self.send_error(400, explain=str(error))
            return
        database().execute("INSERT INTO entries (name, text) VALUES (?, ?)", entry)  # a transaction of its own
        self.send_response(303)  # look at the page again, and a reload of that writes nothing
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def read_entry(self) -> tuple[str, str]:
        """Name and text of the form that was sent.

        :raises ValueError: it is not as it should be, with what would be right.
        """
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and int(length) <= LONGEST_BODY):
            raise ValueError(f"a form needs a Content-Length, of at most {LONGEST_BODY} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ValueError("the form ended early")
        form = parse_qs(body.decode("ascii"), strict_parsing=True, errors="strict")
        name, text = (form.get(field, [""])[0].strip() for field in ("name", "text"))
        if not (0 < len(name) <= LONGEST_NAME and 0 < len(text) <= LONGEST_TEXT):
            raise ValueError(f"a name has 1 to {LONGEST_NAME} characters, a text 1 to {LONGEST_TEXT}")
        return name, text

    def version_string(self) -> str:
        """The ``Server`` header."""
        return f"guestbook (process {os.getpid()})"

    def address_string(self) -> str:
        """The client's address for the log; by a Unix socket nobody has one."""
        return super().address_string() if self.client_address else "unix"
