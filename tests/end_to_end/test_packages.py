"""Servers of the wild under the master: the standard library's and three packages', unchanged, with a client each."""

import importlib.util
import json
import signal
import socket
import urllib.request
import xmlrpc.client
from collections.abc import Callable
from typing import Any

import pytest

from tests.end_to_end.clients import LIMIT, endpoint
from tests.end_to_end.harness import Master, look_until, serving
from tests.long import long_but

HERE = "tests.end_to_end.packages"


def get(url: str, path: str, data: bytes | None = None) -> bytes:
    request = urllib.request.Request(url.replace("tcp:", "http:") + path, data)
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        return bytes(answer.read())


def ask_file(url: str) -> Any:
    return b"[project]" in get(url, "/pyproject.toml")


def ask_xml_rpc(url: str) -> Any:
    with xmlrpc.client.ServerProxy(url.replace("tcp:", "http:")) as there:
        return there.add(2, 3)


def ask_wsgi(url: str) -> Any:
    return get(url, "/some/path")


def ask_json_rpc(url: str) -> Any:
    call = {"jsonrpc": "2.0", "id": 1, "method": "add", "params": [2, 3]}
    return json.loads(get(url, "/", json.dumps(call).encode()))["result"]


def ask_dns(url: str) -> Any:
    from dnslib import DNSRecord

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(LIMIT)
        client.sendto(DNSRecord.question("example.org").pack(), endpoint(url).address)
        return str(DNSRecord.parse(client.recv(4096)).a.rdata)


TCP, UDP = "tcp://127.0.0.1:0", "udp://127.0.0.1:0"
FILES = ("--handler", "http.server:SimpleHTTPRequestHandler")
CASES: dict[str, tuple[str, tuple[str, ...], Callable[[str], Any], Any]] = {
    "http.server": (TCP, ("http.server:HTTPServer", *FILES), ask_file, True),
    "http.server in threads": (TCP, ("http.server:ThreadingHTTPServer", *FILES), ask_file, True),
    "xmlrpc.server": (TCP, (f"{HERE}:xml_rpc",), ask_xml_rpc, 5),
    "wsgiref.simple_server": (TCP, (f"{HERE}:plain_wsgi",), ask_wsgi, b"/some/path"),
    "dnslib": (UDP, (f"{HERE}:dns",), ask_dns, "192.0.2.1"),
    "jsonrpclib": (TCP, (f"{HERE}:json_rpc",), ask_json_rpc, 5),
    "werkzeug": (TCP, (f"{HERE}:wsgi",), ask_wsgi, b"/some/path"),
}


@pytest.fixture(params=long_but(CASES, "http.server in threads", "wsgiref.simple_server", "dnslib"))
def served(request: pytest.FixtureRequest) -> Any:
    """A master that serves one of them, how to ask it, and what it should say."""
    name = request.param
    if importlib.util.find_spec(name.partition(" ")[0]) is None:
        pytest.skip(f"{name} is not installed")
    bind, target, question, answer = CASES[name]
    with serving(*target, "-b", bind, "-w", "2") as master:
        yield master, question, answer


def test_a_server_of_the_wild_serves_unchanged(served: tuple[Master, Callable[[str], Any], Any]) -> None:
    """It answers, also after a reload and after each of its workers died, and stops at once."""
    master, ask, answer = served
    assert [ask(master.bind(0)) for _ in range(8)] == [answer] * 8

    before = set(master.workers().values())
    master.signal(signal.SIGHUP)
    master.wait_serving(generation=2)
    assert [ask(master.bind(0)) for _ in range(8)] == [answer] * 8
    look_until(lambda: not before & set(master.workers().values()), "the workers of generation 1 have left")

    master.kill(*master.workers().values())
    assert [ask(master.bind(0)) for _ in range(8)] == [answer] * 8
    master.stop()
