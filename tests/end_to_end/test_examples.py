"""The examples do what their first lines say."""

import functools
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from click.testing import CliRunner

from prefork.cli import cli
from tests.end_to_end.clients import endpoint
from tests.end_to_end.harness import ROOT, TCP, UDP, serving

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


def test_the_configuration_of_the_demo_is_right() -> None:
    """``make run`` starts from it."""
    result = CliRunner().invoke(cli, ["check", "-c", str(ROOT / "examples/prefork.toml")])
    assert result.exit_code == 0, result.output
