"""What the commands of the lab share: the flags that say what is sent and how a reply ends, and where results go.

It must not import what a load needs to be carried out, so that ``--help`` and the shell's completion stay quick.
Invariant: a flag that was not given leaves the default of ``lab/load.py`` in force, or what the URL suggests.
"""

import os
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import click
import msgspec

from prefork.cli.completing import files, words
from prefork.config.units import parse_bytes, parse_seconds
from prefork.errors import CommandError, UsageError
from prefork.lab.aim import is_datagram, split_http
from prefork.lab.escapes import unescaped
from prefork.lab.load import Load

PACKAGES = ("hdrh", "httptools", "jinja2", "matplotlib", "numpy", "rich", "scipy")  # as they are imported
DEFAULT_SEND = "hello\\n"
STDOUT = "-"
ALL = ("none", "all", "inf")  # words for a connection that carries every request

_FLAGS = (
    click.option(
        "--send",
        metavar="TEXT",
        help=f"What a request says; \\n, \\x00 and the like stand for bytes.  [default: {DEFAULT_SEND}]",
    ),
    click.option(
        "--send-file", metavar="FILE", shell_complete=files, help="What a request says, from a file, as it is."
    ),
    click.option(
        "--reply",
        metavar="HOW",
        shell_complete=words("eof", "line", "datagram", "none"),
        help="Where a reply ends: eof, line, bytes=N, length=N (so many bytes say how many follow), until=TEXT, "
        "datagram, none.  [default: eof; line of a script, and where connections are kept]",
    ),
    click.option("--expect", metavar="TEXT", help="What a reply has to be, of HTTP its body; any other is an error."),
    click.option(
        "--script",
        metavar="MODULE:FUNCTION",
        help="A generator function that yields what to send and is given the replies.",
    ),
    click.option("--http", metavar="PATH", help="Speak HTTP, for this path; an http:// URL does so by itself."),
    click.option("--method", metavar="WORD", help="Of HTTP requests.  [default: GET; POST with --send]"),
    click.option("--header", metavar="NAME:VALUE", multiple=True, help="Of HTTP requests; repeatable."),
    click.option(
        "--per-connection",
        metavar="N",
        help="Requests a connection carries; all: as many as there are.  [default: 1; all of HTTP and datagrams]",
    ),
    click.option("--timeout", metavar="TIME", help="What a request may take, from its sending.  [default: 10s]"),
    click.option("--pace", metavar="SIZE", help="Send so many bytes a second, as slow clients do."),
    click.option("--insecure", is_flag=True, help="Believe any certificate of a TLS server."),
    click.option(
        "--ca", metavar="FILE", shell_complete=files, help="Believe the certificates in this file, not the system's."
    ),
    click.option("--server-name", metavar="NAME", help="Whom the certificate is for, if not the URL's host."),
    click.option("--seed", metavar="N", type=int, help="Of what is random.  [default: 1]"),
)


def load_flags(processes: str = "1") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """All that say what is sent and how a reply ends; the command is given them as keywords, for ``load_of``.

    :param processes: how many send where nothing is said; for the help.
    """
    sending = click.option("--processes", metavar="N", type=int, help=f"Processes that send.  [default: {processes}]")

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for flag in reversed((*_FLAGS, sending)):
            function = flag(function)
        return function

    return add


FLAG_NAMES = (
    "send", "send_file", "reply", "expect", "script", "http", "method", "header", "per_connection", "timeout", "pace",
    "insecure", "ca", "server_name", "processes", "seed",
)  # fmt: skip
"""As keywords, for who wants to tell them from flags of his own."""


def load_of(url: str, flags: Mapping[str, Any]) -> Load:
    """What the flags of ``load_flags`` say; rate, clients and durations are the command's.

    :param flags: others are not looked at.
    :raises UsageError: one of them is wrong.
    """
    given = {name: flags.get(name) for name in FLAG_NAMES}
    carrier, path = split_http(url)
    path = _path(path, given["http"])
    per_connection = _per_connection(given["per_connection"], is_kept=bool(path) or is_datagram(carrier))
    send = _send(given["send"], given["send_file"], default="" if path or given["script"] else DEFAULT_SEND)
    chosen: dict[str, Any] = {
        "method": given["method"] if given["method"] is not None else "POST" if path and send else None,
        "timeout": seconds("--timeout", given["timeout"]),
        "pace": _pace(given["pace"]),
        "expect": None if given["expect"] is None else unescaped(given["expect"], "--expect"),
        "script": given["script"],
        "insecure": given["insecure"],
        "authorities": given["ca"],
        "server_name": given["server_name"],
        "processes": given["processes"],
        "seed": given["seed"],
    }
    return Load(
        url=carrier,
        path=path,
        per_connection=per_connection,
        send=send,
        reply=given["reply"] or _usual_reply(carrier, path, is_eof=per_connection == 1 and not given["script"]),
        headers=tuple(_header(one) for one in given["header"] or ()),
        **{name: value for name, value in chosen.items() if value is not None},
    )


def seconds(flag: str, value: str | None) -> float | None:
    """:raises UsageError: it is no duration."""
    try:
        return None if value is None else float(parse_seconds(value))
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


def needs_lab(command: str) -> None:
    """:raises CommandError: what the lab stands on is not installed."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise CommandError(
            f"{command} needs the packages of prefork[lab], and there is no {', '.join(missing)}; "
            "try: pip install 'prefork[lab]'"
        )


def write_json(path: str, record: object) -> None:
    """As ``write_file``."""
    write_file("--json", path, msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")


def refuse_unwritable(flag: str, path: str) -> None:
    """Rather before the measuring than after it.

    :raises UsageError: there can be no such file, or we may not write to it.
    """
    directory = os.path.dirname(path) or "."
    if os.path.isdir(path):
        why = "it is a directory"
    elif not os.path.isdir(directory):
        why = f"there is no directory {directory}"
    elif not os.access(path if os.path.exists(path) else directory, os.W_OK):
        why = "it is not ours to write"
    else:
        return
    raise UsageError(f"{flag}: {path} cannot be written: {why}; give the path of a file")


def write_file(flag: str, path: str, data: bytes) -> None:
    """:param path: ``-`` is standard output.
    :raises CommandError: it cannot be written.
    """
    if path == STDOUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise CommandError(f"{flag}: {path} cannot be written ({error.strerror}); give another path") from None


def _path(of_url: str, http: str | None) -> str:
    if http is None:
        return of_url
    if of_url not in ("", "/", http):
        raise UsageError(f"--http: the URL names the path {of_url} already; leave one of the two out")
    return http


def _per_connection(text: str | None, is_kept: bool) -> int | None:
    if text is None:
        return None if is_kept else 1
    if text in ALL:
        return None
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise UsageError(f"--per-connection: {text!r} is no number of requests; write 1, 100 or all")
    return int(text)


def _send(text: str | None, path: str | None, default: str) -> bytes:
    if path is None:
        return unescaped(default if text is None else text, "--send")
    if text is not None:
        raise UsageError("--send and --send-file: both say what a request is; leave one of the two out")
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"--send-file: {path} cannot be read ({error.strerror}); give another path") from None


def _usual_reply(url: str, path: str, is_eof: bool) -> str:
    """:param is_eof: whether a connection may end with its first reply: it carries one, and no dialogue."""
    if path:
        return "http"
    if is_datagram(url):
        return "datagram"
    return "eof" if is_eof else "line"


def _pace(text: str | None) -> float | None:
    try:
        return None if text is None else float(parse_bytes(text))
    except ValueError as error:
        raise UsageError(f"--pace: {error}") from None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isprintable() or any(ord(c) > 255 for c in text):
        raise UsageError(f"--header: {text!r} is no header; write it as 'Accept: text/html'")
    return name.strip(), value.strip()
