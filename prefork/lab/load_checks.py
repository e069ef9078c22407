"""What is wrong with a load, said before anything is started. Pure.

Invariant: a load that passes can be carried out, or fails by what it meets and not by what it says.
"""

import math
import re

from prefork.errors import UsageError
from prefork.lab.aim import SCHEMES, is_datagram
from prefork.lab.exchange import reader_of
from prefork.lab.load import MOST_CLIENTS, MOST_RATE, Load

MOST_PROCESSES = 256
_DATAGRAM_REPLIES = ("datagram", "none")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


def check(load: Load) -> None:
    """:raises UsageError: with one line that says what is wrong and what would be right."""
    _check_texts(load)
    _check_numbers(load)
    if load.path:
        _check_http(load)
    else:
        reader_of(load.reply)
        _check_reply(load)
    if load.expect is not None and load.reply == "none":
        raise UsageError("--expect: with --reply none nothing is waited for; leave one of the two out")


def _check_texts(load: Load) -> None:
    texts = {
        "URL": load.url,
        "--script": load.script,
        "--reply": load.reply,
        "--ca": load.authorities,
        "--server-name": load.server_name,
    }
    for flag, text in texts.items():
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise UsageError(f"{flag}: {text!r} holds bytes that are no text; write it in UTF-8")
    if load.server_name and not _is_host(load.server_name):
        raise UsageError(f"--server-name: {load.server_name!r} is no name of a host; write it as shop.example.org")


def _is_host(name: str) -> bool:
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return name.isprintable() and not name.startswith(".")


def _check_numbers(load: Load) -> None:
    least = {"--rate": load.rate, "--duration": load.duration, "--timeout": load.timeout, "--pace": load.pace}
    for flag, value in least.items():
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{flag}: {value:g} is not more than nothing")
    if not 0 <= load.warm_up < math.inf:
        raise UsageError(f"--warm-up: {load.warm_up:g} is no duration")
    counts = {
        "--clients": load.clients,
        "--requests": load.requests,
        "--per-connection": load.per_connection,
        "--processes": load.processes,
    }
    for flag, number in counts.items():
        if number is not None and number < 1:
            raise UsageError(f"{flag}: {number} is too few; 1 is the least")
    most = {
        "--rate": (load.rate or 0.0, MOST_RATE),
        "--clients": (load.clients, MOST_CLIENTS),
        "--processes": (load.processes, MOST_PROCESSES),
    }
    for flag, (amount, limit) in most.items():
        if amount > limit:
            raise UsageError(f"{flag}: {amount} is too many; {limit} is the most")
    if load.requests is not None and load.processes > load.requests:
        raise UsageError(
            f"--processes: {load.processes} share {load.requests} requests, and each needs one; give fewer"
        )
    if load.processes > load.clients:
        raise UsageError(
            f"--processes: {load.processes} share {load.clients} clients, and each needs one; give --clients as many"
        )


def _check_http(load: Load) -> None:
    if is_datagram(load.url):
        raise UsageError(f"--http: {load.url} carries datagrams, and HTTP needs a stream; use tcp://, tls:// or unix:")
    if not load.path.startswith("/") or not load.path.isascii() or any(c.isspace() for c in load.path):
        raise UsageError(f"--http: {load.path!r} is no path; begin it with / and write spaces as %20")
    if _TOKEN.fullmatch(load.method) is None:
        raise UsageError(f"--method: {load.method!r} is no method; write one word as GET")
    if load.reply not in ("http", "none"):
        raise UsageError(f"--reply: HTTP says by itself where a reply ends; leave {load.reply} out")
    if load.script:
        raise UsageError("--script: makes the bytes of a request, and --http makes them too; leave one of the two out")


def _check_reply(load: Load) -> None:
    if is_datagram(load.url) != (load.reply in _DATAGRAM_REPLIES) and load.reply != "none":
        fitting = "datagram or none" if is_datagram(load.url) else "eof, line, bytes=N, length=N, until=TEXT or none"
        raise UsageError(f"--reply: {load.reply} is nothing for {load.url.partition(':')[0]}; use {fitting}")
    if load.reply == "eof" and load.per_connection != 1:
        raise UsageError(
            "--reply: eof ends the connection too; say where a reply ends (line, bytes=N, …) or send one a connection"
        )
    if load.headers:
        raise UsageError(
            f"--header: belongs to HTTP; use an http:// URL or --http PATH ({SCHEMES} without it have none)"
        )
