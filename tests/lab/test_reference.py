"""References: bare loops and the standard library's servers, with the handlers and servers of everybody."""

import os
from pathlib import Path

import pytest

from prefork.errors import TargetError
from prefork.lab import tree
from prefork.lab.subjects import REFERENCES, Subject, UnfitError
from tests.end_to_end.clients import ask
from tests.end_to_end.harness import DATAGRAM, STREAM, UDP, Watched, look_until


@pytest.mark.parametrize("line", REFERENCES)
@pytest.mark.parametrize(("target", "bind"), [(STREAM, "unix:"), (DATAGRAM, UDP)])
def test_handlers_run_in_all_of_them(line: str, target: str, bind: str) -> None:
    """Ours and the standard library's, streams and datagrams; nothing is left."""
    with Subject.start(line, target, 2 if line == "bare" else 1, bind=bind) as subject:
        assert ask(subject.url, "hello") == "HELLO"
        everybody = Watched(tree.pids(subject.pid))
        assert subject.stop() == []
    with everybody:
        everybody.wait_all()


def test_bare_workers_are_counted() -> None:
    """Each in a cell of its own."""
    with Subject.start("bare", STREAM, 2) as subject:
        assert [ask(subject.url, "x") for _ in range(8)] == ["X"] * 8
        look_until(lambda: sum((subject.served() or {}).values()) == 8, "the last is counted, when its client has gone")
        assert set(subject.served() or ()) == {0, 1}


SERVERS = """
import socketserver

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline().upper())

class Threaded(socketserver.ThreadingTCPServer):
    def __init__(self, address, handler=Handler):
        super().__init__(address, handler)

def make(address):
    return socketserver.TCPServer(address, Handler)

class Failing(socketserver.StreamRequestHandler):
    def handle(self):
        if self.rfile.readline() == b"bad\\n":
            raise ValueError
        self.wfile.write(b"still here\\n")
"""


@pytest.mark.parametrize(("target", "way"), [("servers:Threaded", "thread"), ("servers:make", "sync")])
def test_servers_run_as_they_are(tmp_path: Path, target: str, way: str) -> None:
    """In their own mode only, and never in a bare loop."""
    (tmp_path / "servers.py").write_text(SERVERS)
    home = [str(tmp_path)]
    with Subject.start(f"stdlib-{way}", target, 1, pythonpath=home) as subject:
        assert ask(subject.url, "hello") == "HELLO"
    with pytest.raises(UnfitError, match=f"own class says how requests are handled; see stdlib-{way}"):
        Subject.start("stdlib-fork", target, 1, pythonpath=home)
    with pytest.raises(UnfitError, match=r"^the target is no request handler class"):
        Subject.start("bare", target, 1, pythonpath=home)


def test_a_failing_request_costs_no_worker(tmp_path: Path) -> None:
    """A bare loop goes on after an error, as the others do."""
    (tmp_path / "servers.py").write_text(SERVERS)
    with Subject.start("bare", "servers:Failing", 1, pythonpath=[str(tmp_path)]) as subject:
        with pytest.raises(EOFError):
            ask(subject.url, "bad")
        assert ask(subject.url, "good") == "still here"


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    """In the application's words."""
    (tmp_path / "broken.py").write_text("raise RuntimeError('no database')\n")
    with pytest.raises(TargetError, match="RuntimeError: no database"):
        Subject.start("bare", "broken:Handler", 1, pythonpath=[str(tmp_path)])


def test_workers_end_with_their_parent() -> None:
    """Also where it is killed, and could tell nobody."""
    with Subject.start("bare", STREAM, 2) as subject:
        everybody = Watched(tree.pids(subject.pid))
        assert len(everybody.pidfds) == 3
        os.kill(subject.pid, 9)
        with everybody:
            everybody.wait_all()
