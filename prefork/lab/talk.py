"""From a load to what its connections say: bytes, HTTP or a script, and how they are read and made.

Invariant: what is wrong with a load is found here, before anything is sent.
"""

import importlib
import inspect
import os
import ssl
import sys
from collections.abc import Callable

from prefork.errors import UsageError
from prefork.lab.aim import Aim
from prefork.lab.connection import Connection, Owner, Script, Talk
from prefork.lab.exchange import Reader, reader_of
from prefork.lab.http_talk import HttpReader, request_of
from prefork.lab.load import Load
from prefork.lab.wires import Datagrams, Tls, context_of


def talk_of(load: Load, aim: Aim) -> Talk:
    """:raises UsageError: the script cannot be had."""
    keeps = load.expect is not None or bool(load.script)
    make_reader: Callable[[], Reader]
    if load.path:
        request = request_of(load, _host_header(aim))
        make_reader = lambda: HttpReader(load.method != "HEAD", keeps)  # noqa: E731
    else:
        request = load.send
        make_reader = lambda: reader_of(load.reply, keeps)  # noqa: E731
    return Talk(
        request=request,
        make_reader=make_reader,
        has_reply=load.reply != "none",
        expect=load.expect,
        per_connection=load.per_connection,
        pace=load.pace,
        script=script_of(load.script) if load.script else None,
    )


def maker_of(load: Load, aim: Aim, owner: Owner) -> Callable[[], Connection]:
    """What makes connections of the kind that the aim wants."""
    talk = talk_of(load, aim)
    if aim.is_datagram:
        return lambda: Datagrams(aim, talk, owner)
    if aim.is_tls:
        context: ssl.SSLContext = context_of(load)
        return lambda: Tls(aim, talk, owner, context, load.server_name or aim.host)
    return lambda: Connection(aim, talk, owner)


def _host_header(aim: Aim) -> str:
    host = f"[{aim.host}]" if ":" in aim.host else aim.host
    return host if aim.port in (0, 443 if aim.is_tls else 80) else f"{host}:{aim.port}"


def script_of(name: str) -> Script:
    """:param name: ``MODULE:FUNCTION``, found from the working directory too.
    :raises UsageError: there is none, or it is no generator function.
    """
    module, _, function = name.partition(":")
    if not module or not function:
        raise UsageError(f"--script: {name!r} is not MODULE:FUNCTION, as talks:login")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:
        raise UsageError(f"--script: {name} cannot be loaded: {type(error).__name__}: {error}") from None
    if not inspect.isgeneratorfunction(found):
        raise UsageError(f"--script: {name} is no generator function: let it yield what to send, as bytes")
    script: Script = found
    return script
