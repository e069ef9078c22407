"""The examples do what their first lines say."""

import difflib
import functools
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner

from examples import rows
from prefork.cli import cli
from tests.end_to_end.clients import LIMIT, ask, endpoint
from tests.end_to_end.harness import ROOT, TCP, UDP, look_until, serving
from tests.servers.serving import serving as serving_in_a_thread

Program = subprocess.Popen[str]


def say(address: str, text: str) -> str:
    command = [sys.executable, "-m", "examples.say", address, text]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@contextmanager
def running(*arguments: str, stdout: int = subprocess.PIPE) -> Iterator[Program]:
    """A program of Python's in a process of its own, which is gone at the end."""
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=stdout, text=True) as program:
        try:
            yield program
        finally:
            program.kill()


# capitalize, echo, daytime


def test_the_line_service_answers_in_capitals(short_path: Path) -> None:
    """Over TCP and over a Unix socket, asked by the client beside it."""
    with serving("examples.capitalize:Handler", "-b", TCP, "-b", f"unix:{short_path}/socket", "-w", "2") as master:
        assert say(master.bind(0).removeprefix("tcp://"), "hello") == "HELLO\n"
        assert say(master.bind(1).removeprefix("unix:"), "hello") == "HELLO\n"


@pytest.mark.parametrize(
    ("handler", "binds"),
    [("Stream", (TCP, "unix:{}/socket")), ("Datagram", (UDP, "unixgram:{}/socket"))],
    ids=["streams", "datagrams"],
)
def test_what_comes_goes_back(handler: str, binds: tuple[str, ...], short_path: Path) -> None:
    """Over every kind of bind, asked by the client beside it at the address as the log has it."""
    options = [option for bind in binds for option in ("-b", bind.format(short_path))]
    with serving(f"examples.echo:{handler}", *options, "-w", "2") as master:
        for number in range(len(binds)):
            assert say(master.bind(number), "hello") == "hello\n"


def test_a_stream_is_echoed_before_its_line_ends() -> None:
    """What is there comes back, and all of it does, until the client hangs up."""
    with serving("examples.echo:Stream", "-b", TCP, "-w", "1") as master, endpoint(master.bind()).connect() as client:
        client.sendall(b"half")
        assert client.recv(4, socket.MSG_WAITALL) == b"half"
        client.sendall(b" a line")
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as reply:
            assert reply.read() == b" a line"


def test_the_time_is_said_over_a_stream_and_that_ends() -> None:
    """A client that says nothing hears the time, and then the end of file."""
    with serving("examples.daytime:Stream", "-b", TCP, "-w", "2") as master:
        with endpoint(master.bind()).connect() as client, client.makefile("rb") as reply:
            expect_time(reply.read().decode())
        expect_time(say(master.bind(), ""))


def test_the_time_is_said_in_a_datagram() -> None:
    """For any datagram, be it empty."""
    with serving("examples.daytime:Datagram", "-b", UDP, "-w", "2") as master:
        with endpoint(master.bind()).connect() as client:
            client.send(b"")
            expect_time(client.recv(1024).decode())
        expect_time(say(master.bind(), ""))


def expect_time(line: str) -> None:
    """:raises ValueError: the line says no time."""
    datetime.strptime(line.rstrip("\r\n"), "%A, %B %d, %Y %H:%M:%S-UTC")


# files


def http(url: str, method: str, path: str, body: str | None = None, **headers: str) -> tuple[HTTPResponse, bytes]:
    """One request on a connection of its own, to whatever kind of stream bind; the response and its body."""
    connection = HTTPConnection("localhost")
    connection.sock = endpoint(url).connect()
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_the_standard_library_s_files_are_served_unchanged() -> None:
    """Its request handler runs under the master as it is."""
    with serving("http.server:SimpleHTTPRequestHandler", "-b", TCP, "-w", "2") as master:
        fetch = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
        url = master.bind().replace("tcp:", "http:") + "/README.md"
        page = subprocess.run([sys.executable, "-c", fetch, url], capture_output=True, text=True, check=True).stdout
        assert page.startswith("# prefork")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The document root of ``examples.files``."""
    root = tmp_path / "site"
    for directory in ("notes", "bare", ".git", "bare/index.html"):
        (root / directory).mkdir(parents=True)
    (root / "index.html").write_text("<p>welcome")
    (root / "notes" / "index.html").write_text("<p>notes")
    (root / "a b.txt").write_text("text")
    (root / ".git" / "config").write_text("a secret")
    (tmp_path / "outside").write_text("a secret")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "inner").symlink_to("a b.txt")
    monkeypatch.setenv("FILES_ROOT", str(root))
    return root


@pytest.mark.parametrize("bind", [TCP, "unix:{}/socket"], ids=["tcp", "unix"])
def test_files_and_the_index_of_a_directory_are_served(bind: str, site: Path, short_path: Path) -> None:
    """GET and HEAD; the connection ends with the response, also where the client would have kept it."""
    with serving("examples.files:Handler", "-b", bind.format(short_path), "-w", "2") as master:
        get = functools.partial(http, master.bind())
        response, body = get("GET", "/", Connection="keep-alive")
        assert (response.status, body) == (200, b"<p>welcome")
        assert response.headers["Content-Type"] == "text/html"
        assert (response.version, response.will_close) == (10, True)
        response, body = get("HEAD", "/a%20b.txt")
        assert (response.status, response.headers["Content-Length"], body) == (200, "4", b"")
        assert get("GET", "/a%20b.txt")[1] == b"text"
        assert get("GET", "/inner?query#fragment")[1] == b"text"
        response, _ = get("GET", "/notes")
        assert (response.status, response.headers["Location"]) == (301, "/notes/")
        assert get("GET", "/notes/")[1] == b"<p>notes"


def test_what_is_hidden_outside_or_not_there_is_not_found(site: Path) -> None:
    """Names with a dot, links and paths that lead out, directories without an index: all the same 404."""
    paths = [
        "/nothing",
        "/a%00b",
        "/index.html/",
        "/bare/",  # its index.html is a directory
        "/bare/index.html/",
        "/.git",
        "/.git/",
        "/.git/config",
        "/%2egit/config",
        "/notes/../.git/config",
        "/link",
        "/../outside",
        "/%2e%2e/outside",
    ]
    with serving("examples.files:Handler", "-b", TCP, "-w", "1") as master:
        answers = {path: http(master.bind(), "GET", path) for path in paths}
        assert {path: response.status for path, (response, _) in answers.items()} == dict.fromkeys(paths, 404)
        assert not any(b"secret" in body for _, body in answers.values())


# guestbook


@pytest.fixture
def guestbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "guestbook.sqlite"
    monkeypatch.setenv("GUESTBOOK", str(path))
    return path


def form(name: str, text: str) -> str:
    return urlencode({"name": name, "text": text})


def write(url: str, name: str, text: str) -> str:
    """Write an entry; the process that answered."""
    response, _ = http(url, "POST", "/", form(name, text))
    assert (response.status, response.headers["Location"]) == (303, "/")
    return response.headers["Server"]


def entries(url: str) -> list[str]:
    response, page = http(url, "GET", "/")
    assert response.status == 200
    return re.findall("<li>(.*)</li>", page.decode())


def test_entries_from_all_workers_are_in_one_book(guestbook: Path) -> None:
    """Sixty clients at once, spread over processes that meet in a new file: nothing is missing, nothing is doubled."""
    names = [f"visitor {number}" for number in range(60)]
    with serving("examples.guestbook:Handler", "-b", TCP, "-w", "4", "--balance", "even") as master:
        with ThreadPoolExecutor(len(names)) as clients:
            processes = set(clients.map(lambda name: write(master.bind(), name, "hello"), names))
        assert len(processes) > 1
        assert sorted(entries(master.bind())) == sorted(f"<b>{name}</b>: hello" for name in names)


def test_the_book_outlives_its_workers(guestbook: Path) -> None:
    """What was written is there under the next master, the newest first."""
    for name in ("Ada", "Grace"):
        with serving("examples.guestbook:Handler", "-b", TCP, "-w", "2") as master:
            write(master.bind(), name, "hello")
            assert entries(master.bind())[0] == f"<b>{name}</b>: hello"
    with serving("examples.guestbook:Handler", "-b", TCP, "-w", "2") as master:
        assert entries(master.bind()) == ["<b>Grace</b>: hello", "<b>Ada</b>: hello"]


def test_a_kill_loses_nothing_that_was_committed(guestbook: Path) -> None:
    """A worker is killed while all write: that costs one answer at most, and every entry that was answered stays."""
    names = [f"visitor {number}" for number in range(60)]
    answered: list[str] = []
    is_halfway = threading.Event()

    with serving("examples.guestbook:Handler", "-b", TCP, "-w", "4") as master:

        def try_to_write(name: str) -> None:
            try:
                write(master.bind(), name, "hello")
            except (OSError, HTTPException):
                return
            answered.append(name)
            if len(answered) >= len(names) / 2:
                is_halfway.set()

        with ThreadPoolExecutor(6) as clients:
            for name in names:
                clients.submit(try_to_write, name)
            assert is_halfway.wait(LIMIT)
            master.kill(next(iter(master.workers().values())))
        assert len(answered) >= len(names) - 1
        written = entries(master.bind())
        assert {f"<b>{name}</b>: hello" for name in answered} <= set(written)
        assert len(written) == len(set(written))


def test_what_visitors_write_is_text_and_never_markup(guestbook: Path) -> None:
    """Markup is escaped; other alphabets are shown as they are."""
    with serving("examples.guestbook:Handler", "-b", TCP, "-w", "1") as master:
        write(master.bind(), "<b>Ada</b>", "<script>alert('&')</script> {entries} λ \N{SNOWMAN}")
        (entry,) = entries(master.bind())
        assert entry == (
            "<b>&lt;b&gt;Ada&lt;/b&gt;</b>: "
            "&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt; {entries} λ \N{SNOWMAN}"
        )


def test_a_bad_form_is_refused_with_its_remedy(guestbook: Path) -> None:
    """A form that is no form, too long or not whole is answered by 400, and writes nothing."""
    bodies = {
        "nonsense": "bad query field",
        "text=hello": "a name has 1 to 40",
        "name=Ada": "a text 1 to 500",
        form(" ", "hello"): "a name has 1 to 40",
        form("A" * 41, "hello"): "a name has 1 to 40",
        form("Ada", "x" * 501): "a text 1 to 500",
        "name=Ada&text=%ff": "decode",
    }
    with serving("examples.guestbook:Handler", "-b", TCP, "-w", "1") as master:
        for body, remedy in bodies.items():
            response, page = http(master.bind(), "POST", "/", body)
            assert (response.status, remedy in page.decode()) == (400, True), f"{body!r}: {page.decode()}"
        for length in ("", "8193", "-1", "x", "9" * 5000, "²"):
            assert declare(master.bind(), length).startswith("HTTP/1.0 400 "), length
        assert declare(master.bind(), "18", "name=Ada&text=hal").startswith("HTTP/1.0 400 ")
        assert http(master.bind(), "GET", "/elsewhere")[0].status == 404
        assert entries(master.bind()) == []


def declare(url: str, length: str, body: str = "") -> str:
    """The response to a form of a declared length, and perhaps another true one."""
    with endpoint(url).connect() as client, client.makefile("r") as reply:
        client.sendall(f"POST / HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}".encode())
        client.shutdown(socket.SHUT_WR)
        return reply.read()


# rows


class ToldRows(rows.Rows):
    """It tells of each row it has finished with, one way or the other."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.finished: queue.Queue[rows.Row] = queue.Queue()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.finished.put(request)


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(tmp_path / "rows.sqlite")


def test_rows_are_taken_done_or_given_back(table: str) -> None:
    """Each row is answered; one that fails is tried three times, behind the others, and the log says why."""
    with serving_in_a_thread(ToldRows(table), poll_interval=0.01) as server:
        rows.add(["360", "seven", "97"], table)
        finished = [server.finished.get(timeout=LIMIT) for _ in range(5)]
        assert sorted(row.number for row in finished) == ["360", "97", "seven", "seven", "seven"]
        assert rows.table(table) == [
            ("360", "done", 1, "2 * 2 * 2 * 3 * 3 * 5"),
            ("seven", "failed", 3, ""),
            ("97", "done", 1, "97"),
        ]


def test_the_log_names_the_row_that_failed(table: str, caplog: pytest.LogCaptureFixture) -> None:
    """A row takes the place of a client's address."""
    rows.add(["seven"], table)
    rows.Rows(table).handle_request()
    assert "the handler failed serving row 1" in caplog.text
    assert rows.table(table) == [("seven", "open", 1, "")]


def test_a_row_is_taken_by_one_server_only(table: str) -> None:
    """Two servers never get the same row, and where none is open there is nothing to wait for."""
    one, other = rows.Rows(table), rows.Rows(table)
    with pytest.raises(BlockingIOError):
        one.get_request()
    rows.add(["4", "6"], table)
    assert [one.get_request()[0].number, other.get_request()[0].number] == ["4", "6"]
    with pytest.raises(BlockingIOError):
        other.get_request()


def test_a_row_whose_handler_was_told_to_leave_is_given_back(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an answer makes a row done, not the mere end of its handler."""

    def leave(number: int) -> None:
        raise SystemExit

    rows.add(["4"], table)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(rows, "factorize", leave)
        rows.Rows(table).handle_request()
    assert rows.table(table) == [("4", "open", 1, "")]
    rows.Rows(table).handle_request()
    assert rows.table(table) == [("4", "done", 2, "2 * 2")]


def test_a_row_whose_process_was_killed_is_taken_again(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the claim has run out; who had it before can neither answer it nor give it back any more."""
    rows.add(["4"], table)
    dead, heir = rows.Rows(table), rows.Rows(table)
    lost, _ = dead.get_request()
    monkeypatch.setattr(rows, "LEASE", -1.0)
    again, _ = heir.get_request()
    assert (again.id, again.tries) == (lost.id, 2)
    dead.answer(lost, "nonsense")
    dead.shutdown_request(lost)
    assert rows.table(table) == [("4", "taken", 2, "")]
    heir.answer(again, "2 * 2")
    heir.shutdown_request(again)
    assert rows.table(table) == [("4", "done", 2, "2 * 2")]


def test_two_processes_share_the_rows(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three commands, with two who serve: each row is answered once, and TERM ends them well."""
    monkeypatch.setenv("ROWS", table)
    program = [sys.executable, "-m", "examples.rows"]
    subprocess.run([*program, "add", *map(str, range(2, 32))], cwd=ROOT, check=True)
    reading, writing = os.pipe()
    with os.fdopen(reading) as said, os.fdopen(writing, "w") as pipe:
        serve = functools.partial(running, "-m", "examples.rows", "serve", stdout=pipe.fileno())
        with serve() as one, serve() as other:
            answers = [said.readline().partition(": ")[2] for _ in range(30)]
            for server in (one, other):
                server.send_signal(signal.SIGTERM)
                assert server.wait(LIMIT) == 0
    assert sorted(int(answer.split()[0]) for answer in answers) == list(range(2, 32))
    listed = subprocess.run([*program, "list"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "done   12 = 2 * 2 * 3\n" in listed
    assert {(state, tries) for _, state, tries, _ in rows.table(table)} == {("done", 1)}


def test_rows_are_served_by_workers_of_a_master(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address; also what is added while nobody has anything to do, and after the workers were killed."""
    monkeypatch.setenv("ROWS", table)
    rows.add(["360", "97"], table)

    def is_done(count: int) -> Callable[[], bool]:
        return lambda: [state for _, state, _, _ in rows.table(table)] == ["done"] * count

    with serving("examples.rows:Rows", "--bind", "none", "-w", "2") as master:
        look_until(is_done(2), "both rows are done")
        master.kill(*master.workers().values())
        rows.add(["4", "6"], table)
        look_until(is_done(4), "the rows added later are done")
        master.stop()


# modes


def test_each_class_answers_from_other_processes_and_threads() -> None:
    """Six clients each: one thread; six threads of one process; six processes."""
    program = [sys.executable, "-m", "examples.modes"]
    said = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True, timeout=LIMIT).stdout
    heads = [line for line in said.splitlines() if not line.startswith(" ")]
    assert heads == [
        "TCPServer: clients 6, processes 1, threads 1",
        "ThreadingTCPServer: clients 6, processes 1, threads 6",
        "ForkingTCPServer: clients 6, processes 6, threads 6",
    ]


def test_a_worker_says_its_slot() -> None:
    """Under the master the handler knows which of the workers it is in."""
    with serving("examples.modes:Handler", "-b", TCP, "-w", "1") as master:
        assert ask(master.bind(), "who") == f"process {master.workers()[1]}, slot 1, thread MainThread"


@pytest.mark.parametrize(
    ("mode", "workers", "is_worker", "thread"),
    [
        ("sync", 1, True, "MainThread"),
        ("thread", 1, True, "Thread-"),
        ("fork", 1, False, "MainThread"),
        ("prefork", 4, True, "MainThread"),
        ("hybrid", 4, True, "Thread-"),
    ],
)
def test_each_mode_answers_as_its_line_says(mode: str, workers: int, is_worker: bool, thread: str) -> None:
    """The worker itself, one of its threads, or a child of its own."""
    with serving("examples.modes:Handler", "--mode", mode, "-b", TCP) as master:
        pids = set(master.workers().values())
        assert len(pids) == workers
        with endpoint(master.bind()).connect() as client, client.makefile() as reply:
            said = re.fullmatch(r"process (\d+), slot \d, thread (\S+).*\n", reply.readline())
        assert said is not None
        assert (int(said[1]) in pids) is is_worker
        assert said[2].startswith(thread)
        master.stop()


# from threads to processes


def programs() -> dict[str, str]:
    """The programs of the page, by the first word of their docstrings."""
    page = (ROOT / "examples/from_threading.md").read_text()
    blocks = re.findall("^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return {block.partition(":")[0].strip('"'): block for block in blocks}


def run_program(title: str) -> None:
    """Run one of them on a port of the kernel's choice, and ask it."""
    program = programs()[title].replace("9000", "0")
    with running("-c", program) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().split()[-1])
        assert ask(f"tcp://127.0.0.1:{port}", "hello") == "HELLO"
        server.terminate()
        assert server.wait(LIMIT) in (0, -signal.SIGTERM)


@pytest.mark.parametrize("title", ["before", "after"])
def test_the_programs_of_the_page_are_whole(title: str) -> None:
    """What the page shows is a program, not a part of one, and TERM ends it."""
    run_program(title)


def test_only_the_import_and_one_line_change() -> None:
    """As the page says."""
    before, after = (programs()[title].splitlines() for title in ("before", "after"))
    changes = [line[2:] for line in difflib.ndiff(before[1:], after[1:]) if line.startswith("+ ")]
    assert [change.split()[0] for change in changes] == ["from", "with"]
    assert len(before) == len(after)


def test_the_table_of_examples_leaves_none_out() -> None:
    """Every file beside it has its line."""
    names = {path.name for path in (ROOT / "examples").glob("[!_.]*.*")} - {"README.md"}
    listed = set(re.findall(r"\]\(([a-z_]+\.[a-z]+)\)", (ROOT / "examples/README.md").read_text()))
    assert listed == names


def test_the_configuration_of_the_demo_is_right() -> None:
    """``make run`` starts from it."""
    result = CliRunner().invoke(cli, ["check", "-c", str(ROOT / "examples/prefork.toml")])
    assert result.exit_code == 0, result.output
