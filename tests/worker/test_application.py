"""A target is found, or refused with what to try, and the application's own errors are its own; one promise a test."""

import socket
import socketserver
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from prefork.servers.listening import DatagramServer, StreamServer
from prefork.worker.application import Application, Kind, TargetError, build, load

HANDLER = "import socketserver\nclass Echo(socketserver.BaseRequestHandler):\n    pass\n"

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules of an application below a directory to import from; they are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def write(path: str, text: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refusal(target: str) -> str:
    with pytest.raises(TargetError) as raised:
        load(target)
    line = str(raised.value)
    assert len(line.splitlines()) == 1
    assert repr(target) in line
    return line


@pytest.mark.parametrize(
    ("path", "text", "target", "name"),
    [
        ("shop_app.py", HANDLER, "shop_app:Echo", "Echo"),
        ("shop_app/handlers.py", HANDLER, "shop_app.handlers:Echo", "Echo"),
        ("shop_app.py", HANDLER + "class Outer:\n    Inner = Echo\n", "shop_app:Outer.Inner", "Echo"),
    ],
)
def test_a_handler_class_is_found_by_its_target(write: Write, path: str, text: str, target: str, name: str) -> None:
    """In a module, in a module of a package, in a class."""
    write(path, text)
    found = load(target)
    assert found.kind is Kind.HANDLER
    assert issubclass(found.made_by, socketserver.BaseRequestHandler)
    assert found.made_by.__name__ == name


@pytest.mark.parametrize("target", ["no_such_app:Echo", "no_such_app.handlers:Echo"])
def test_a_module_that_is_not_found_is_refused_with_what_to_try(target: str) -> None:
    """The application is not installed, or lies elsewhere."""
    line = refusal(target)
    assert "'no_such_app'" in line
    assert "pythonpath" in line


def test_a_module_that_is_not_found_in_its_package_is_refused(write: Write) -> None:
    """The line names the part that is missing."""
    write("shop_app/__init__.py", "")
    assert "'shop_app.handlers'" in refusal("shop_app.handlers:Echo")


@pytest.mark.parametrize("name", ["Ehco", "Echo.Inner"])
def test_a_name_that_the_module_has_not_is_refused(write: Write, name: str) -> None:
    """The line names both."""
    write("shop_app.py", HANDLER)
    line = refusal(f"shop_app:{name}")
    assert "'shop_app'" in line
    assert repr(name) in line


@pytest.mark.parametrize("text", ["Echo = 3", "class Echo: pass", "import socketserver as Echo"])
def test_what_cannot_be_served_is_refused(write: Write, text: str) -> None:
    """It is said which kinds of things would be right."""
    write("shop_app.py", text)
    line = refusal("shop_app:Echo")
    for kind in ("BaseRequestHandler", "server class", "function"):
        assert kind in line


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1 / 0", ZeroDivisionError),
        ("class", SyntaxError),
        ("import no_such_library", ModuleNotFoundError),
        ("import shop_app.nothing", ModuleNotFoundError),
        ("from os import nothing", ImportError),
        ("raise SystemExit(3)", SystemExit),
    ],
)
def test_the_applications_own_errors_pass_as_they_are(write: Write, text: str, kind: type[BaseException]) -> None:
    """Their traceback leads to the application, so none of it is hidden by a word of ours."""
    write("shop_app/__init__.py", "")
    write("shop_app/handlers.py", text)
    with pytest.raises(kind):
        load("shop_app.handlers:Echo")


def test_every_listener_gets_the_server_that_fits_it() -> None:
    """One server a listener, in their order, with the address of its own socket."""
    kinds = [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_STREAM]
    with ExitStack() as open_ones:
        listeners = [open_ones.enter_context(socket.socket(socket.AF_INET, kind)) for kind in kinds]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))

        servers = build(Application("shop:Echo", Kind.HANDLER, socketserver.BaseRequestHandler), listeners)
        assert [type(server) for server in servers] == [StreamServer, DatagramServer, StreamServer]
        assert [server.server_address for server in servers] == [listener.getsockname() for listener in listeners]
        for server in servers:
            server.server_close()
