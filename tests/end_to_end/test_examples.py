"""The examples do what their first lines say."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
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


def test_the_standard_library_s_files_are_served_unchanged() -> None:
    """Its request handler runs under the master as it is."""
    with serving("http.server:SimpleHTTPRequestHandler", "-b", TCP, "-w", "2") as master:
        fetch = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
        url = master.bind().replace("tcp:", "http:") + "/README.md"
        page = subprocess.run([sys.executable, "-c", fetch, url], capture_output=True, text=True, check=True).stdout
        assert page.startswith("# prefork")


def test_the_configuration_of_the_demo_is_right() -> None:
    """``make run`` starts from it."""
    result = CliRunner().invoke(cli, ["check", "-c", str(ROOT / "examples/prefork.toml")])
    assert result.exit_code == 0, result.output
