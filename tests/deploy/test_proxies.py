"""nginx and HAProxy in front of real instances, with the files of ``deploy/``, under clients that check each reply.

The page is docs/behind-a-proxy.md: what it says was tried is tried here.
"""

import contextlib
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.parcels import BIG
from tests.deploy.proxies import HTTP, TCP, Edit, HAProxy, Nginx, missing
from tests.end_to_end.clients import LIMIT, endpoint
from tests.end_to_end.harness import ROOT, Gate, Master, Visitor, look_until, serving
from tests.end_to_end.http import Inquiry, fetch, request
from tests.end_to_end.load import Load, Outcome
from tests.end_to_end.network import own_network

pytestmark = [pytest.mark.deployed, pytest.mark.skipif(bool(missing()), reason=missing())]

PARCELS, KEEP_ALIVE = "tests.deploy.parcels:Handler", "tests.deploy.parcels:KeepAlive"
PREFORK = [sys.executable, "-m", "prefork"]
DOOR_TCP, ADMIN = "tcp://127.0.0.1:9000", "tcp://127.0.0.1:9190"
DOOR_TCP_2, ADMIN_2 = "tcp://127.0.0.1:9001", "tcp://127.0.0.1:9191"

BOTH = pytest.mark.parametrize("name", ["nginx", "haproxy"])

# what an operator of HAProxy changes to go by the Unix socket, and to have a second instance
BY_UNIX = [Edit("server shop 127", "# server shop 127"), Edit("# server shop unix", "server shop unix")]
TWO = [Edit("# server shop2", "server shop2")]

# what is written to in a test of the files' own commands: copies and empty places, in a mount namespace
ELSEWHERE = [
    "for name in nginx haproxy; do cp -a /etc/$name $PLACE/$name; mount --bind $PLACE/$name /etc/$name; done",
    "for path in /run /var/log /var/lib/nginx; do mount -t tmpfs none $path; done",
    "mkdir /var/log/nginx",
]


@pytest.fixture(scope="module", autouse=True)
def _own_network() -> Iterator[None]:
    """Where every port of the files is free."""
    home = os.stat("/proc/thread-self/ns/net").st_ino
    with own_network():
        if os.stat("/proc/thread-self/ns/net").st_ino == home:
            pytest.skip("no network of one's own, so the ports of the files may be taken")
        yield


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path that the users of the proxies may pass."""
    with tempfile.TemporaryDirectory(prefix="prefork-") as directory:
        os.chmod(directory, 0o711)
        yield Path(directory)


@pytest.fixture
def gate(place: Path) -> Iterator[Gate]:
    with Gate(place / "gate") as gate:
        yield gate


@contextlib.contextmanager
def shop(
    place: Path,
    target: str,
    *binds: str,
    name: str = "shop",
    admin: str = ADMIN,
    workers: int = 4,
    arguments: tuple[str, ...] = (),
) -> Iterator[Master]:
    """An instance that serves."""
    shutil.copy(ROOT / "examples/orders.py", place / "shop.py")
    command = [target, "--pythonpath", str(place), "-n", name, "--admin", admin, "--control", f"{place}/{name}.control"]
    for bind in binds:
        command += ["-b", bind]
    with Master(*command, "-w", str(workers), *arguments) as master:
        master.wait_serving()
        yield master


def through(name: str, place: Path, door: str = "unix", two: bool = False) -> Nginx | HAProxy:
    """A proxy with its file of ``deploy/``, edited as an operator would for this door, and for a second instance."""
    if name == "nginx":  # goes by both doors as it is
        edits = [Edit("# server unix", "server unix")] if two else []
        return Nginx(place, edits, edits)
    return HAProxy(place, [*(BY_UNIX if door == "unix" else []), *(TWO if two else [])])


def door_of(name: str, place: Path, door: str) -> str:
    if door == "tcp":
        return DOOR_TCP
    return Nginx.door(place) if name == "nginx" else HAProxy.door(place)


def wait_answered(*loads: Load) -> None:
    for load in loads:
        load.wait_answered(100)


def assert_nothing_lost(*outcomes: Outcome) -> None:
    for outcome in outcomes:
        assert outcome._replace(answered=0, examples=()) == Outcome(0, 0, 0, 0, 0), outcome


@pytest.mark.parametrize("name", ["nginx/shop.conf", "nginx/shop-stream.conf", "haproxy/haproxy.cfg"])
def test_the_files_go_where_they_say(name: str, place: Path) -> None:
    """As they are, by their own commands, into what Debian has installed; the proxy finds nothing to warn of."""
    file = ROOT / "deploy" / name
    commands = re.findall(
        r"^#   ((?:rm|cp) .+?)(?: && (?:nginx -s|systemctl) reload.*)?$", file.read_text(), re.MULTILINE
    )
    assert commands
    said = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", "\n".join([*ELSEWHERE, *commands])],
        cwd=file.parent,
        env={**os.environ, "PLACE": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
    )
    assert said.returncode == 0, said.stdout
    assert "test is successful" in said.stdout or "Configuration file is valid" in said.stdout
    assert "warn" not in said.stdout.lower()


def test_readyz_is_there_for_a_balancer_in_front(place: Path) -> None:
    """Through nginx: for whom the file names, and nobody else; 502 once there is no instance, here that of the page."""
    (configured,) = examples("toml")
    config = place / "prefork.toml"
    config.write_text(f'control = "{place}/shop.control"\n' + configured.replace("/run/shop/", f"{place}/"))
    shutil.copy(ROOT / "examples/orders.py", place / "shop.py")
    with Nginx(place):
        with serving("-c", str(config), cwd=place):
            assert fetch(HTTP, "/readyz")[::2] == (200, b"ready\n")
            with socket.create_connection(("127.0.0.1", 80), LIMIT, ("127.0.0.2", 0)) as stranger:
                stranger.sendall(request("GET", "/readyz"))
                assert stranger.recv(12) == b"HTTP/1.1 403"
        assert fetch(HTTP, "/readyz").status == 502


@BOTH
def test_who_may_not_open_the_unix_socket_is_told_so(name: str, place: Path) -> None:
    """The workers of the proxy are nobody special: without their group there is no way in."""
    door = door_of(name, place, "unix").partition("&group=")[0]
    with shop(place, "shop:Handler", door), through(name, place) as proxy:
        assert fetch(HTTP, "/orders/7").status in (502, 503)
        if name == "nginx":
            assert "Permission denied" in proxy.said()


@pytest.mark.parametrize("door", ["unix", "tcp"])
@BOTH
def test_reloads_of_either_side_cost_nothing(name: str, door: str, place: Path) -> None:
    """HTTP and plain TCP at once: code reloaded, the proxy reloaded, workers recycled all the time."""
    with (
        shop(place, "shop:Handler", door_of(name, place, door), arguments=("--max-requests", "100")) as master,
        through(name, place, door) as proxy,
        Load(HTTP, clients=6, processes=1, talk="orders") as web,
        Load(TCP, clients=6, processes=1, talk="orders") as tcp,
    ):
        wait_answered(web, tcp)
        master.signal(signal.SIGHUP)
        master.wait_serving(generation=2)
        wait_answered(web, tcp)
        proxy.reload()
        wait_answered(web, tcp)
        assert_nothing_lost(web.finish(), tcp.finish())


def second_shop(name: str, place: Path, target: str) -> AbstractContextManager[Master]:
    """The second instance of the proxy's file."""
    door = Nginx.door(place, "shop2") if name == "nginx" else DOOR_TCP_2
    return shop(place, target, door, name="shop2", admin=ADMIN_2)


@BOTH
def test_a_restart_of_one_of_two_instances_is_noticed_by_nobody(name: str, place: Path) -> None:
    """It is stopped as an operator stops it, and started again, under load; then it bears the load alone."""
    door = door_of(name, place, "unix" if name == "nginx" else "tcp")
    with (
        second_shop(name, place, "shop:Handler") as second,
        shop(place, "shop:Handler", door) as first,
        through(name, place, door="tcp", two=True) as proxy,
        Load(HTTP, clients=6, processes=1, talk="orders") as web,
        Load(TCP, clients=6, processes=1, talk="orders") as tcp,
    ):
        wait_answered(web, tcp)
        first.stop()
        wait_answered(web, tcp)
        with shop(place, "shop:Handler", door):
            if isinstance(proxy, HAProxy):  # before the other goes; nginx asks nobody, and tries
                look_until(proxy.is_all_up, "HAProxy has taken it in again")
            second.stop()
            wait_answered(web, tcp)
            assert_nothing_lost(web.finish(), tcp.finish())


def hold(gate: Gate, method: str = "GET", url: str = HTTP) -> Inquiry:
    """A request that waits at the gate, sent through the proxy."""
    return Inquiry(url, request(method, f"/hold?gate={gate.path}", body=b"x" if method == "POST" else b""))


@BOTH
def test_a_killed_worker_costs_no_request_that_may_be_sent_again(name: str, place: Path, gate: Gate) -> None:
    """GET goes to the next worker; POST is not sent twice, and its client is told; what is sent as plain TCP ends."""
    with (
        shop(place, PARCELS, DOOR_TCP, *([Nginx.door(place)] if name == "nginx" else [])) as master,
        through(name, place, door="tcp"),
    ):
        get, post, plain = hold(gate), hold(gate, "POST"), hold(gate, url=TCP)
        master.kill(*(visitor.pid for visitor in gate.visitors(3)))
        again = gate.visitor()
        assert again.news == "GET"
        again.let_pass()
        assert get.reply()[::2] == (200, str(again.pid).encode())
        assert post.reply().status == 502
        with pytest.raises((EOFError, ConnectionResetError)):
            plain.reply()


def hold_one_of(master: Master, gate: Gate) -> tuple[Inquiry, Visitor]:
    """A request that waits in this instance; what the proxy sent elsewhere is answered."""
    while True:
        inquiry = hold(gate)
        visitor = gate.visitor()
        if visitor.pid in master.workers().values():
            return inquiry, visitor
        visitor.let_pass()
        inquiry.reply()


@pytest.mark.parametrize("how", ["stop", "pause parcels"])
def test_haproxy_takes_out_whoever_is_not_ready_while_he_finishes(how: str, place: Path, gate: Gate) -> None:
    """/readyz is 503 at once, what runs is answered, and what comes goes elsewhere."""
    with (
        second_shop("haproxy", place, PARCELS) as second,
        shop(place, PARCELS, DOOR_TCP) as first,
        HAProxy(place, TWO) as proxy,
    ):
        inquiry, visitor = hold_one_of(first, gate)
        with prefork(place, *how.split()):
            look_until(lambda: proxy.stat("shop_http", "shop")["status"] == "DOWN", "HAProxy takes it out")
            assert proxy.stat("shop_http", "shop")["check_code"] == "503"
            pids = {int(fetch(HTTP, "/pid").body) for _ in range(20)}
            assert pids <= set(second.workers().values())
            visitor.let_pass()
            assert inquiry.reply()[::2] == (200, str(visitor.pid).encode())
        if how == "stop":
            first.expect_exit(0)
        else:
            with prefork(place, "resume", "parcels"):
                look_until(proxy.is_all_up, "HAProxy takes it in again")


@contextlib.contextmanager
def prefork(place: Path, *command: str) -> Iterator[None]:
    """A command to the first instance, which has ended well when this ends."""
    with subprocess.Popen([*PREFORK, *command, "--control", f"{place}/shop.control"]) as process:
        yield
        assert process.wait(LIMIT) == 0


def half(body_bytes: int) -> bytes:
    """A request of which most is still to come."""
    return f"POST / HTTP/1.0\r\nContent-Length: {body_bytes}\r\n\r\nx".encode()


@BOTH
def test_who_sends_slowly_holds_no_worker(name: str, place: Path) -> None:
    """With a single one: while clients have sent half of their heads, or bodies, others are served."""
    with shop(place, PARCELS, DOOR_TCP, workers=1), through(name, place, door="tcp"):
        head, body = Inquiry(HTTP, b"GET /pid HT"), Inquiry(HTTP, half(8192))
        for _ in range(3):
            assert fetch(HTTP, "/pid").status == 200
        head.socket.sendall(b"TP/1.0\r\n\r\n")
        body.socket.sendall(b"x" * 8191)
        assert head.reply().status == 200
        assert body.reply().text == "8192"


def test_without_a_proxy_who_sends_slowly_holds_a_worker(place: Path) -> None:
    with shop(place, PARCELS, DOOR_TCP, workers=1) as master:
        slow = Inquiry(DOOR_TCP, half(8192))
        look_until(lambda: is_busy(master), "the worker waits for the rest")
        slow.socket.sendall(b"x" * 8191)
        assert slow.reply().status == 200


def is_busy(master: Master) -> bool:
    return any(process.state.startswith("busy") for process in master.processes("worker"))


def test_nginx_takes_whole_what_haproxy_takes_up_to_its_buffer(place: Path) -> None:
    """A big request that comes slowly, a big reply that is read slowly."""
    with shop(place, PARCELS, DOOR_TCP, workers=1) as master:
        with Nginx(place):
            sends = Inquiry(HTTP, half(BIG // 32))
            reads = Inquiry(HTTP, request("GET", "/big"))
            assert fetch(HTTP, "/pid").status == 200
            sends.socket.sendall(b"x" * (BIG // 32 - 1))
            assert sends.reply().body == str(BIG // 32).encode()
            assert reads.reply().body == b"x" * BIG
        master.wait_idle()
        with HAProxy(place):
            reads = Inquiry(HTTP, request("GET", "/big"))
            look_until(lambda: is_busy(master), "the worker waits for the client to read")
            waits = Inquiry(HTTP, request("GET", "/pid"))
            assert reads.reply().body == b"x" * BIG
            assert waits.reply().status == 200


def test_haproxy_keeps_the_queue(place: Path, gate: Gate) -> None:
    """No more than maxconn are sent to the instance; who hangs up in the queue has left it."""
    with shop(place, PARCELS, DOOR_TCP), HAProxy(place) as haproxy:
        held = [hold(gate) for _ in range(4)]
        visitors = gate.visitors(4)
        waiting = [Inquiry(HTTP, request("GET", "/pid")) for _ in range(6)]
        look_until(lambda: haproxy.stat("shop_http", "BACKEND")["qcur"] == "6", "six wait in HAProxy")
        assert queue_of(place) == 0
        for inquiry in waiting[:2]:
            inquiry.socket.close()
        look_until(lambda: haproxy.stat("shop_http", "BACKEND")["qcur"] == "4", "two have left")
        for visitor in visitors:
            visitor.let_pass()
        assert {inquiry.reply().status for inquiry in (*held, *waiting[2:])} == {200}


def test_who_has_said_all_and_listens_is_answered(place: Path, gate: Gate) -> None:
    """Over plain TCP that is no hang-up, also in HAProxy's queue."""
    with shop(place, PARCELS, DOOR_TCP), HAProxy(place) as haproxy:
        held = [hold(gate, url=TCP) for _ in range(4)]
        visitors = gate.visitors(4)
        waits = Inquiry(TCP, request("GET", "/pid"))
        waits.socket.shutdown(socket.SHUT_WR)
        look_until(lambda: haproxy.stat("shop_tcp", "BACKEND")["qcur"] == "1", "it waits in HAProxy")
        for visitor in visitors:
            visitor.let_pass()
        assert {inquiry.reply().status for inquiry in (*held, waits)} == {200}


def queue_of(place: Path) -> int:
    """How many wait in the kernel for the instance."""
    return sum(int(queue["waiting"]) for queue in service_of(place)["queues"])


def service_of(place: Path) -> Any:
    """What ``prefork status`` tells of it."""
    command = [*PREFORK, "status", "--control", f"{place}/shop.control", "--json"]
    (service,) = json.loads(subprocess.check_output(command, timeout=LIMIT))["services"]
    return service


def test_a_connection_that_is_kept_open_holds_a_worker(place: Path) -> None:
    """Hence the files ask for none, whatever the handler would do; clients may keep theirs."""
    keeping = [
        Edit("least_conn;", "least_conn; keepalive 1;"),
        Edit("proxy_http_version 1.0;", "proxy_http_version 1.1;"),
        Edit("proxy_set_header Connection close;", 'proxy_set_header Connection "";'),
    ]
    with shop(place, KEEP_ALIVE, DOOR_TCP, workers=1) as master:
        for proxy in (Nginx(place), HAProxy(place)):
            with proxy, contextlib.closing(http.client.HTTPConnection("127.0.0.1", timeout=LIMIT)) as client:
                client.request("GET", "/pid")
                client.getresponse().read()
                kept = client.sock
                master.wait_idle()
                client.request("GET", "/pid")
                assert client.getresponse().status == 200
                assert client.sock is kept
        with Nginx(place, keeping):
            assert fetch(HTTP, "/pid").status == 200
            waits = Inquiry(DOOR_TCP, request("GET", "/pid"))
            look_until(lambda: queue_of(place) == 1, "a client waits for the only worker")
            (worker,) = master.processes("worker")
            assert (worker.condition, worker.state[:4]) == ("S", "busy")
        assert waits.reply().status == 200


def test_a_full_queue_of_a_unix_socket_turns_nginx_away(place: Path, gate: Gate) -> None:
    """One is at work, two are queued, and for the next there is 502."""
    with shop(place, PARCELS, Nginx.door(place), workers=1, arguments=("--backlog", "1")), Nginx(place):
        held = hold(gate)
        visitor = gate.visitor()
        waiting = [Inquiry(HTTP, request("GET", "/pid")) for _ in range(4)]
        look_until(lambda: sum(has_reply(inquiry) for inquiry in waiting) == 2, "two are turned away")
        visitor.let_pass()
        assert sorted(inquiry.reply().status for inquiry in (held, *waiting)) == [200, 200, 200, 502, 502]


def test_whom_a_unix_socket_turns_away_finds_room_by_tcp(place: Path, gate: Gate) -> None:
    """Hence the second door in the file of nginx: one is at work, and two are queued at either."""
    doors = (Nginx.door(place), DOOR_TCP)
    with shop(place, PARCELS, *doors, workers=1, arguments=("--backlog", "1")), Nginx(place):
        held = hold(gate)
        visitor = gate.visitor()
        waiting = [Inquiry(HTTP, request("GET", "/pid")) for _ in range(4)]
        look_until(lambda: queue_of(place) == 4, "all wait for the only worker")
        visitor.let_pass()
        assert {inquiry.reply().status for inquiry in (held, *waiting)} == {200}


def has_reply(inquiry: Inquiry) -> bool:
    return bool(select.select([inquiry.socket], [], [], 0)[0])


@BOTH
def test_a_client_that_hangs_up_costs_nothing(name: str, place: Path, gate: Gate) -> None:
    """The proxy closes as well; the worker notices when it answers, and takes the next."""
    with shop(place, PARCELS, DOOR_TCP, workers=1) as master, through(name, place, door="tcp"):
        workers = master.workers()
        held = hold(gate)
        visitor = gate.visitor()
        held.socket.close()
        Inquiry(HTTP, half(8192)).socket.close()
        visitor.let_pass()
        assert fetch(HTTP, "/pid").body == str(workers[1]).encode()
        assert master.workers() == workers
        assert not master.lines("the handler failed")


def examples(language: str) -> list[str]:
    """What the page shows."""
    page = (ROOT / "docs/behind-a-proxy.md").read_text()
    return re.findall(rf"^```{language}\n(.+?)^```", page, re.MULTILINE | re.DOTALL)


@BOTH
def test_handlers_learn_who_their_clients_are(name: str, place: Path) -> None:
    """By the examples of the page: from a header, whatever the client puts there, and from a line before all else."""
    for module, example in zip(("by_header", "by_line"), examples("python"), strict=True):
        (place / f"{module}.py").write_text(example)
    with shop(place, "by_header:Handler", DOOR_TCP), through(name, place, door="tcp"):
        forged = Inquiry(HTTP, request("GET", "/", "X-Forwarded-For: 8.8.8.8", "X-Forwarded-For: 9.9.9.9"))
        assert forged.reply().text == "you are 127.0.0.1"
    with shop(place, "by_line:Handler", DOOR_TCP), told_by_line(name, place), endpoint(TCP).connect() as client:
        assert client.makefile().read() == "you are 127.0.0.1\n"


def told_by_line(name: str, place: Path) -> Nginx | HAProxy:
    if name == "nginx":
        return Nginx(place, stream_edits=[Edit("# proxy_protocol on;", "proxy_protocol on;")])
    line = "server shop 127.0.0.1:9000 check addr 127.0.0.1 port 9190"
    return HAProxy(place, [Edit(line, f"# {line}"), Edit(f"# {line} send-proxy", f"{line} send-proxy")])
