"""What existing servers in the wild need of whoever runs them; one promise a test.

The targets stand in this module, are found by their text, built on an inherited listener and asked by a real client.
"""

import contextlib
import functools
import http.client
import http.server
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import wsgiref.simple_server
import xmlrpc.client
import xmlrpc.server
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import prefork.socketserver
from prefork.binds import parse
from prefork.servers.base import serve_one
from prefork.servers.inherited import InheritedSocket
from prefork.servers.traits import concurrency_of
from prefork.worker.application import Kind, TargetError, build, load, refuse_unfit
from tests.children import LIMIT, wait_readable
from tests.servers.serving import within_limit
from tests.street import Street, open_street

each = pytest.mark.parametrize
STREAMS = ["tcp", "tcp6", "unix", "abstract"]
DATAGRAMS = ["udp", "unixgram"]


@pytest.fixture
def street(monkeypatch: pytest.MonkeyPatch) -> Iterator[Street]:
    for name in ("unlink", "remove"):  # what a worker changes for its life
        monkeypatch.setattr(os, name, getattr(os, name))
    with open_street() as street:
        yield street
    assert "bind" not in vars(socket.socket), "sockets are as they were once everything is built"


def one(name: str, listener: socket.socket, handler: str = "") -> Any:
    """The server that a target of this module makes on the listener."""
    [server] = build(load(f"{__name__}:{name}", handler and f"{__name__}:{handler}"), [listener])
    return server


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(TargetError) as raised:
        act()
    line = str(raised.value)
    assert len(line.splitlines()) == 1
    return line


def ask(server: Any, client: socket.socket) -> bytes:
    """Ask for something and have one request served, as a worker does."""
    client.sendall(b"asked\n")
    serve(server)
    return client.recv(99)


def serve(server: Any) -> None:
    wait_readable(server.socket)
    request, client_address = server.get_request()
    assert serve_one(server, request, client_address) is None


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline().upper())


class DatagramEcho(socketserver.DatagramRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.read().upper())


# constructors differ


class ByAddress(socketserver.TCPServer):
    def __init__(self, addr: Any) -> None:
        super().__init__(addr, Echo)


class ByAddressAndHandler(socketserver.TCPServer):
    def __init__(self, addr: Any, handler: Any) -> None:
        super().__init__(addr, handler)


class WithRequiredActivation(socketserver.TCPServer):
    def __init__(self, addr: Any, bind_and_activate: bool) -> None:
        super().__init__(addr, Echo, bind_and_activate)


class ByHostAndPort(socketserver.TCPServer):
    def __init__(self, host: str, port: int, debug: bool = False) -> None:
        super().__init__((host, port), Echo)


class ForAnApplication(socketserver.TCPServer):
    def __init__(self, host: str, port: int, app: object) -> None:
        super().__init__((host, port), Echo)


class WithDefaultHandler(socketserver.TCPServer):
    def __init__(self, address: Any, handler: Any = Echo, **options: Any) -> None:
        super().__init__(address, handler, **options)


class Mute(socketserver.BaseRequestHandler):
    pass


partial = functools.partial(socketserver.TCPServer, RequestHandlerClass=Echo)
Plain = socketserver.TCPServer


@each(
    ("name", "handler"),
    [
        ("Plain", "Echo"),
        ("ByAddress", ""),
        ("ByAddressAndHandler", "Echo"),
        ("WithRequiredActivation", ""),
        ("ByHostAndPort", ""),
        ("WithDefaultHandler", ""),
        ("partial", ""),
    ],
)
@each("kind", ["tcp", "tcp6"])
def test_constructors_differ(street: Street, name: str, handler: str, kind: str) -> None:
    """Constructors differ: a class is built by the factory rule that fits its signature."""
    listener = street.listener(kind)
    client, number, address = street.client(listener), listener.fileno(), listener.getsockname()
    server = one(name, listener, handler)
    with server:
        assert ask(server, client) == b"ASKED\n"
        assert (server.server_address, server.fileno()) == (address, number)
        assert (type(server.socket), listener.fileno()) == (InheritedSocket, -1)


def test_a_constructor_that_wants_more_is_refused() -> None:
    """Where none fits the error says to pass a factory."""
    line = refusal(lambda: load(f"{__name__}:ForAnApplication"))
    assert "wants app" in line
    assert "def serve(address): return ForAnApplication(address, ...)" in line


def test_a_default_handler_gives_way_to_one_that_is_given(street: Street) -> None:
    """A class with a default handler works without one, and takes one."""
    with one("WithDefaultHandler", street.listener("tcp"), "Mute") as server:
        assert server.RequestHandlerClass is Mute


def test_a_handler_for_a_handler_class_is_refused() -> None:
    """It would be ignored in silence."""
    assert "leave --handler" in refusal(lambda: load(f"{__name__}:Echo", f"{__name__}:Echo"))


@each("handler", ["Plain.address_family", "partial"])
def test_a_handler_that_is_no_class_is_refused(handler: str) -> None:
    """It names the handler, not the target."""
    assert f"handler '{__name__}:{handler}'" in refusal(lambda: load(f"{__name__}:Plain", f"{__name__}:{handler}"))


# kinds of listeners


class Calling(socketserver.UDPServer):
    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        super().server_bind()


def test_what_a_server_may_send_is_kept(street: Street) -> None:
    """Options set before binding that decide what replies are possible."""
    with one("Calling", street.listener("udp"), "DatagramEcho") as server:
        assert server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)


@each(
    ("name", "kind"),
    [
        *(("Plain", kind) for kind in STREAMS),
        ("UnixPlain", "unix"),
        ("UnixPlain", "abstract"),
        ("UnixPlain", "tcp"),
        ("OurUnix", "unix"),
        ("OurUnix", "abstract"),
        ("Our", "tcp"),
        ("Our", "tcp6"),
    ],
)
def test_a_stream_server_serves_every_stream(street: Street, name: str, kind: str) -> None:
    """Whatever family it was made for, its socket and its attribute are the listener's."""
    listener = street.listener(kind)
    client, address, family = street.client(listener), listener.getsockname(), listener.family
    server = one(name, listener, "Echo")
    assert ask(server, client) == b"ASKED\n"
    assert (server.server_address, server.address_family, server.socket.family) == (address, family, family)
    server.server_close()


UnixPlain = socketserver.UnixStreamServer
OurUnix = prefork.socketserver.UnixStreamServer
Our = prefork.socketserver.TCPServer


@each(("name", "kind"), [("Datagrams", "udp"), ("Datagrams", "unixgram"), ("UnixDatagrams", "unixgram")])
def test_a_datagram_server_serves_every_datagram(street: Street, name: str, kind: str) -> None:
    """As a stream server."""
    listener = street.listener(kind)
    server = one(name, listener, "DatagramEcho")
    assert ask(server, street.client(server.socket)) == b"ASKED\n"
    server.server_close()


Datagrams = socketserver.UDPServer
UnixDatagrams = socketserver.UnixDatagramServer


def test_every_listener_gets_its_server(street: Street) -> None:
    """One server object a bind, in their order."""
    listeners = [street.listener(kind) for kind in ("tcp", "unix", "tcp6")]
    addresses = [listener.getsockname() for listener in listeners]
    servers = build(load(f"{__name__}:ByAddress"), listeners)
    assert [server.server_address for server in servers] == addresses
    for server in servers:
        server.server_close()


def test_a_closed_server_holds_nothing(street: Street) -> None:
    """The worker keeps no copy of the listener, so that the last close is the last."""
    listener = street.listener("tcp")
    address = listener.getsockname()
    one("ByAddress", listener).server_close()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(address)


# attributes and overridden methods


class WithOwnAttributes(socketserver.TCPServer):
    def __init__(self, address: Any, handler: Any = Echo) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.allow_reuse_address = True
        self.request_queue_size = 1
        super().__init__(address, handler)


@each("kind", ["tcp", "tcp6"])
def test_attributes_may_be_set_before_the_constructor(street: Street, kind: str) -> None:
    """``address_family``, ``allow_reuse_address`` and the like may be set on the instance before ``__init__``."""
    listener = street.listener(kind)
    client = street.client(listener)
    with one("WithOwnAttributes", listener) as server:
        assert ask(server, client) == b"ASKED\n"


class Computing(socketserver.TCPServer):
    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        super().server_bind()
        self.seen = self.socket.getsockname()
        self.server_name, self.server_port = self.seen[:2]


def test_server_bind_runs_and_sees_the_inherited_listener(street: Street) -> None:
    """``server_bind`` is overridden and computes ``server_name``, ``server_port`` from the real address."""
    listener = street.listener("tcp")
    address = listener.getsockname()
    with one("Computing", listener, "Echo") as server:
        assert (server.seen, (server.server_name, server.server_port)) == (address, address)


class FromBareSockets:
    """Never heard of ``socketserver``."""

    def __init__(self, address: Any) -> None:
        self.socket = socket.create_server(address, backlog=1)

    def get_request(self) -> Any:
        return self.socket.accept()


def test_a_server_that_never_heard_of_socketserver_is_built(street: Street) -> None:
    """What gives requests, or serves for ever, is a server."""
    listener = street.listener("tcp")
    client = street.client(listener)
    server = one("FromBareSockets", listener)
    wait_readable(server.socket)
    connection, peer = server.get_request()
    assert peer == client.getsockname()
    connection.close()
    server.socket.close()


def test_the_backlog_and_the_flags_of_the_listener_are_left_alone(street: Street) -> None:
    """They belong to all who hold the socket."""
    listener = street.listener("unix")
    with socket.socket(fileno=os.dup(listener.fileno())) as held:
        with one("WithOwnAttributes", listener) as server:  # which would listen with a backlog of 1
            server.socket.settimeout(1)
            for _ in range(8):
                street.client(held)
            assert not os.get_blocking(held.fileno())
        assert not os.get_blocking(held.fileno())


# ssl


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    directory = tmp_path_factory.mktemp("certificate")
    key, cert = str(directory / "key.pem"), str(directory / "cert.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*command, "-keyout", key, "-out", cert, "-subj", "/CN=shop"], check=True, capture_output=True)
    return cert, key


class Encrypted(socketserver.TCPServer):
    context: ssl.SSLContext

    def server_activate(self) -> None:
        super().server_activate()
        self.socket = self.context.wrap_socket(self.socket, server_side=True)


class EncryptedEarly(socketserver.TCPServer):
    def server_bind(self) -> None:
        self.socket = Encrypted.context.wrap_socket(self.socket, server_side=True)
        super().server_bind()


def encrypted_by_factory(address: Any) -> socketserver.TCPServer:
    server = socketserver.TCPServer(address, Echo)
    server.socket = Encrypted.context.wrap_socket(server.socket, server_side=True)
    return server


@each("default", [None, LIMIT])
@each(("name", "handler"), [("Encrypted", "Echo"), ("EncryptedEarly", "Echo"), ("encrypted_by_factory", "")])
def test_the_socket_may_be_wrapped(
    street: Street, certificate: tuple[str, str], name: str, handler: str, default: float | None
) -> None:
    """``server.socket`` may be wrapped in ``server_activate`` or later; it never waits for a client."""
    Encrypted.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Encrypted.context.load_cert_chain(*certificate)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.load_verify_locations(certificate[0])
    listener = street.listener("tcp")
    with socket.socket(fileno=os.dup(listener.fileno())) as held:
        try:
            socket.setdefaulttimeout(default)
            server = one(name, listener, handler)
        finally:
            socket.setdefaulttimeout(None)
        assert isinstance(server.socket, ssl.SSLSocket)
        assert not os.get_blocking(held.fileno())
        with pytest.raises(BlockingIOError):
            server.get_request()
    with server, ThreadPoolExecutor(1) as clients:

        def ask() -> bytes:
            with trusting.wrap_socket(street.client(server.socket)) as client:
                client.sendall(b"asked\n")
                return client.recv(99)

        asked = clients.submit(ask)
        serve(server)
        assert asked.result(LIMIT) == b"ASKED\n"


def test_wrapping_never_makes_the_listener_block(
    street: Street, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for a moment: another worker may be accepting just then."""
    Encrypted.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Encrypted.context.load_cert_chain(*certificate)
    listener = street.listener("tcp")
    held = socket.socket(fileno=os.dup(listener.fileno()))
    seen = set()

    class Watched(ssl.SSLSocket):
        def settimeout(self, value: float | None, /) -> None:
            super().settimeout(value)
            seen.add(os.get_blocking(held.fileno()))

    monkeypatch.setattr(ssl.SSLContext, "sslsocket_class", Watched)
    with held, one("Encrypted", listener, "Echo"):
        assert seen == {False}


class EncryptedAndPolling(Encrypted):
    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Its own."""


def test_a_wrapped_socket_has_no_timeout_for_a_loop_of_its_own(street: Street, certificate: tuple[str, str]) -> None:
    """``handle_request`` looks at it: with 0 it would not wait at all. The flag is everybody's, as ever."""
    Encrypted.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Encrypted.context.load_cert_chain(*certificate)
    with one("EncryptedAndPolling", street.listener("tcp"), "Echo") as server:
        assert (server.socket.gettimeout(), os.get_blocking(server.fileno())) == (None, False)


# factories


def free_attributes(address: Any) -> http.server.HTTPServer:
    server = http.server.HTTPServer(address, Echo)
    server.stock = ["apple"]  # type: ignore[attr-defined]
    return server


def test_a_factory_may_set_free_attributes(street: Street) -> None:
    """Handlers read free attributes of ``self.server``, set after construction."""
    with one("free_attributes", street.listener("tcp")) as server:
        assert server.stock == ["apple"]


def elsewhere(address: Any) -> socketserver.TCPServer:
    return socketserver.TCPServer(("127.0.0.1", 0), Echo)


def hard_coded() -> socketserver.TCPServer:
    return socketserver.TCPServer(("localhost", int(os.environ["SHOP_PORT"])), Echo)


def nowhere(address: Any) -> socketserver.TCPServer:
    return socketserver.TCPServer(address, Echo, bind_and_activate=False)


def nothing(address: Any) -> None:
    return None


@each(("name", "words"), [("elsewhere", "instead of"), ("nowhere", "that is not on"), ("nothing", "returned None")])
def test_a_factory_that_ignores_the_address_is_refused(street: Street, name: str, words: str) -> None:
    """What it made is named, with what to do."""
    listener = street.listener("tcp")
    line = refusal(lambda: one(name, listener))
    assert words in line
    assert f"{__name__}:{name}" in line


def test_an_address_of_its_own_that_is_taken_is_a_target_error(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the second worker that meets it: the first has taken it."""
    listener, port = street.listener("tcp"), street.listener("tcp").getsockname()[1]
    monkeypatch.setenv("SHOP_PORT", str(port))
    assert str(("localhost", port)) in refusal(lambda: one("hard_coded", listener))


def dozing() -> Any:
    raise RuntimeError("no stock")


def test_a_factorys_own_error_passes(street: Street) -> None:
    """Its traceback leads to the application."""
    listener = street.listener("tcp")
    with pytest.raises(RuntimeError, match="no stock"):
        one("dozing", listener)


class Table:
    """Work from a table: no network."""

    def get_request(self) -> Any:
        return "work", None


def test_a_server_without_a_network_is_built_once() -> None:
    """Without listeners there is one server all the same."""
    application = load(f"{__name__}:Table")
    refuse_unfit(application, [])
    [server] = build(application, [])
    assert isinstance(server, Table)


def test_an_address_of_its_own_is_served_if_it_is_the_bind(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """A factory may have it from elsewhere."""
    listener = street.listener("tcp")
    client, number = street.client(listener), listener.fileno()
    monkeypatch.setenv("SHOP_PORT", str(listener.getsockname()[1]))
    with one("hard_coded", listener) as server:
        assert server.fileno() == number
        assert ask(server, client) == b"ASKED\n"


# instances, mixins, loops

built = socketserver.TCPServer(("127.0.0.1", 0), Echo, bind_and_activate=False)
built.server_close()


def test_an_instance_is_refused_with_advice() -> None:
    """On the command line an instance is refused: it was built before its worker."""
    assert "give its class, or a function" in refusal(lambda: load(f"{__name__}:built"))


class ThreadingFirst(socketserver.ThreadingMixIn, socketserver.TCPServer):
    pass


class ThreadingLast(socketserver.TCPServer, socketserver.ThreadingMixIn):
    pass


@each("name", ["ThreadingFirst", "ThreadingLast"])
def test_mix_ins_keep_their_order_and_their_names(street: Street, name: str) -> None:
    """``isinstance(server, socketserver.ThreadingMixIn)`` of the standard library is asked by applications."""
    listener = street.listener("tcp")
    client = street.client(listener)
    with one(name, listener, "Echo") as server:
        assert isinstance(server, socketserver.ThreadingMixIn)
        assert concurrency_of(server) == "thread"
        assert ask(server, client) == b"ASKED\n"


class Polling(socketserver.TCPServer):
    def __init__(self, address: Any, handler: Any = Echo) -> None:
        super().__init__(address, handler, bind_and_activate=False)
        self.is_stopping = False

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        self.server_bind()
        self.server_activate()
        while not self.is_stopping:
            self.handle_request()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.is_stopping = True
        super().process_request(request, client_address)


def test_a_loop_of_its_own_may_bind_when_it_runs(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """``serve_forever`` may be overridden, and may loop over ``handle_request()``."""
    listener = street.listener("tcp")
    client, number = street.client(listener), listener.fileno()
    server = one("Polling", listener)
    assert listener.fileno() == number
    try:
        client.sendall(b"asked\n")
        server.serve_forever()
    finally:
        for name in ("bind", "listen", "setblocking", "settimeout"):  # kept for a loop that has not run yet
            delattr(socket.socket, name)
    assert client.recv(99) == b"ASKED\n"
    assert (server.fileno(), listener.fileno()) == (number, -1)
    server.server_close()


class ClosingByShutdown(socketserver.TCPServer):
    is_stopping = False

    def shutdown(self) -> None:
        self.is_stopping = True
        super().shutdown()

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()


def test_shutdown_of_a_server_whose_own_loop_never_ran_returns(street: Street) -> None:
    """The overridden ``shutdown`` must run at the stop, for handlers poll what it sets; and it must not block."""
    server = one("ClosingByShutdown", street.listener("tcp"), "Echo")
    within_limit(server.server_close)
    assert server.is_stopping


class WithThread(socketserver.TCPServer):
    def __init__(self, address: Any, handler: Any = Echo) -> None:
        self.pool = ThreadPoolExecutor(1)
        super().__init__(address, handler)


def test_threads_of_a_constructor_live_where_it_serves(street: Street) -> None:
    """Threads started in a constructor die at a fork, so a class is built in the worker."""
    with one("WithThread", street.listener("tcp")) as server:
        assert server.pool.submit(threading.get_ident).result(LIMIT) != threading.get_ident()
        server.pool.shutdown()


# paths


class Tidy(socketserver.UnixStreamServer):
    server_address: Any

    def server_bind(self) -> None:
        if os.path.exists(self.server_address):
            os.unlink(self.server_address)
        super().server_bind()

    def server_close(self) -> None:
        super().server_close()
        Path(self.server_address).unlink()


def test_a_server_that_cleans_up_does_not_remove_the_path(street: Street, tmp_path: Path) -> None:
    """Before it binds and after it closes: the path belongs to all workers. Other files are its own."""
    listener = street.listener("unix")
    client, path = street.client(listener), listener.getsockname()
    server = one("Tidy", listener, "Echo")
    assert ask(server, client) == b"ASKED\n"
    server.server_close()
    assert os.path.exists(path)
    other = tmp_path / "other"
    other.touch()
    os.unlink(other)
    assert not other.exists()


class Replacing(socketserver.UnixStreamServer):
    server_address: Any

    def server_bind(self) -> None:
        os.rename(self.server_address, self.server_address + ".old")
        super().server_bind()


def test_a_server_that_takes_the_path_away_is_refused(street: Street) -> None:
    """Clients could not reach any worker any more, so it is said at once."""
    listener = street.listener("unix")
    assert "leave the path alone" in refusal(lambda: one("Replacing", listener, "Echo"))


# what does not go together


@each(
    ("name", "handler", "binds", "words"),
    [
        ("Echo", "", [], "give a bind"),
        ("Plain", "Echo", [], "give a bind"),
        ("Echo", "", ["udp://127.0.0.1:1"], "tcp: or unix:"),
        ("Echo", "", ["tcp://127.0.0.1:1", "unixgram:/run/x"], "tcp: or unix:"),
        ("DatagramEcho", "", ["tcp://127.0.0.1:1"], "udp: or unixgram:"),
        ("DatagramEcho", "", ["unix:/run/x"], "udp: or unixgram:"),
        ("Plain", "Mute", ["udp://127.0.0.1:1"], "tcp: or unix:"),
        ("Datagrams", "Mute", ["unix:/run/x"], "udp: or unixgram:"),
        ("Plain", "DatagramEcho", ["udp://127.0.0.1:1"], "tcp: or unix:"),
        ("ByHostAndPort", "", ["unix:/run/x"], "a host and a port"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_forks(
    name: str, handler: str, binds: list[str], words: str
) -> None:
    """It names the target, the bind, and what would go."""
    application = load(f"{__name__}:{name}", handler and f"{__name__}:{handler}")
    line = refusal(lambda: refuse_unfit(application, [parse(bind) for bind in binds]))
    assert words in line
    assert f"{__name__}:{name}" in line


@each(
    ("name", "handler", "binds"),
    [
        ("Echo", "", ["tcp://127.0.0.1:1", "unix:/run/x"]),
        ("Mute", "", ["tcp://127.0.0.1:1", "udp://127.0.0.1:1"]),
        ("Plain", "Echo", ["tcp://[::1]:1", "unix:@x"]),
        ("Datagrams", "DatagramEcho", ["udp://[::1]:1", "unixgram:@x"]),
        ("Table", "", ["tcp://127.0.0.1:1"]),
        ("hard_coded", "", []),
    ],
)
def test_what_goes_together_is_not_refused(name: str, handler: str, binds: list[str]) -> None:
    """Also what does not tell what it is for."""
    refuse_unfit(load(f"{__name__}:{name}", handler and f"{__name__}:{handler}"), [parse(bind) for bind in binds])


# the standard library's servers


def api(address: Any) -> xmlrpc.server.SimpleXMLRPCServer:
    server = xmlrpc.server.SimpleXMLRPCServer(address, logRequests=False)
    server.register_function(pow)  # type: ignore[arg-type]  # it is several functions to mypy
    return server


def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["SERVER_PORT"].encode()]


class QuietWSGIHandler(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


def wsgi(host: str, port: int) -> wsgiref.simple_server.WSGIServer:
    return wsgiref.simple_server.make_server(host, port, page, handler_class=QuietWSGIHandler)


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


HTTP = http.server.HTTPServer
ThreadingHTTP = http.server.ThreadingHTTPServer


def fetch(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read()


@each("name", ["HTTP", "ThreadingHTTP"])
def test_http_server_serves_files(street: Street, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """http.server with SimpleHTTPRequestHandler, single and threading."""
    (tmp_path / "hello").write_text("from a file")
    monkeypatch.chdir(tmp_path)
    with one(name, street.listener("tcp"), "Files") as server, ThreadPoolExecutor(1) as clients:
        asked = clients.submit(fetch, server.server_port, "/hello")
        serve(server)
        assert asked.result(LIMIT) == b"from a file"


def test_xmlrpc_server_serves_a_function(street: Street) -> None:
    """xmlrpc.server by a factory that registers a function."""
    with one("api", street.listener("tcp")) as server, ThreadPoolExecutor(1) as clients:
        proxy = xmlrpc.client.ServerProxy("http://{}:{}".format(*server.server_address))
        asked = clients.submit(proxy.pow, 2, 10)
        serve(server)
        assert asked.result(LIMIT) == 1024


def test_wsgiref_serves_an_application(street: Street) -> None:
    """wsgiref.simple_server.make_server by a factory of a host and a port."""
    with one("wsgi", street.listener("tcp")) as server, ThreadPoolExecutor(1) as clients:
        asked = clients.submit(fetch, server.server_port, "/")
        serve(server)
        assert asked.result(LIMIT) == str(server.server_port).encode()


# what it costs


def test_a_handler_class_costs_no_look_at_signatures() -> None:
    """Workers must not pay for what they do not use."""
    code = f"""
import sys
sys.path.insert(0, {os.fspath(Path(__file__).parent)!r})
import socketserver
from prefork.worker.application import load
before = set(sys.modules)
load("socketserver:StreamRequestHandler")
assert set(sys.modules) == before, set(sys.modules) - before
assert "inspect" not in before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_kind_is_told() -> None:
    """For whoever must treat them differently."""
    kinds = {name: load(f"{__name__}:{name}").kind for name in ("Echo", "ByAddress", "Table", "api")}
    assert kinds == {"Echo": Kind.HANDLER, "ByAddress": Kind.SERVER, "Table": Kind.SERVER, "api": Kind.FACTORY}
