"""What is said on every connection of a load, and what is taken for an answer: bytes, HTTP, or a script's dialogue.

It must not know sockets. Invariant: what is wrong with a load is found when a talk is made, before anything is sent.
Read next: ``exchange.py`` and ``http_talk.py``, where a reply ends.
"""

import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Generator

from prefork.errors import UsageError
from prefork.lab.aim import Aim
from prefork.lab.exchange import Reader, reader_of
from prefork.lab.http_talk import HttpReader, request_of
from prefork.lab.load import Load

Script = Callable[[int], Generator[bytes, bytes, None]]
SHOWN = 60  # bytes of a reply in an error


class Talk:
    """See above.

    :param request: bytes of every request, where no script makes them.
    :param has_reply: whether anything is waited for.
    :param expect: what a reply has to be, if not ``None``.
    :param per_connection: requests a connection carries; ``None`` is as many as there are.
    :param pace: bytes a second, ``None`` at once.
    """

    def __init__(
        self,
        request: bytes,
        make_reader: Callable[[], Reader],
        has_reply: bool = True,
        expect: bytes | None = None,
        per_connection: int | None = 1,
        pace: float | None = None,
        script: Script | None = None,
    ) -> None:
        self.request = request
        self.make_reader = make_reader
        self.has_reply = has_reply
        self.expect = expect
        self.per_connection = per_connection
        self.pace = pace
        self.script = script

    @property
    def is_single(self) -> bool:
        """Whether a connection sends once, and all of it."""
        return self.per_connection == 1 and self.pace is None and self.script is None

    def fault(self, reader: Reader) -> tuple[str, str] | None:
        """What is wrong with a reply that is whole: the kind of the error, and a sentence."""
        fault = reader.fault()
        if fault is None and self.expect is not None and reader.reply != self.expect:
            return "wrong", f"the reply was {_shown(reader.reply)} and not {_shown(self.expect)}"
        return fault


class Dialogue:
    """A script at work for one request."""

    def __init__(self, script: Script, number: int) -> None:
        self._course = script(number)

    def go_on(self, reply: bytes | None) -> bytes | None:
        """What it says next, or ``None`` when it has ended.

        :param reply: to what it said last; ``None`` at its beginning.
        :raises ValueError: it found something wrong, or is wrong itself.
        """
        try:
            said = next(self._course) if reply is None else self._course.send(reply)
        except StopIteration:
            return None
        except (Exception, SystemExit) as error:
            raise ValueError(f"the script raised {_told(error)}") from None
        if not isinstance(said, bytes):
            raise ValueError(f"the script yielded {said!r}; it has to yield bytes")
        return said

    def close(self) -> None:
        """Its request has failed already, and why is told; so whatever it says or raises at its end is not heard."""
        with contextlib.suppress(Exception, SystemExit):
            self._course.close()


def talk_of(load: Load, aim: Aim) -> Talk:
    """:raises UsageError: the script cannot be had."""
    keeps = load.expect is not None or bool(load.script)

    def make_reader() -> Reader:
        return HttpReader(load.method != "HEAD", keeps) if load.path else reader_of(load.reply, keeps)

    return Talk(
        request=request_of(load, _host_header(aim)) if load.path else load.send,
        make_reader=make_reader,
        has_reply=load.reply != "none",
        expect=load.expect,
        per_connection=load.per_connection,
        pace=load.pace,
        script=script_of(load.script) if load.script else None,
    )


def script_of(name: str) -> Script:
    """:param name: ``MODULE:FUNCTION``, found from the working directory too.
    :raises UsageError: there is none, it is no generator function, or it does not take the number of a request.
    """
    module, _, function = name.partition(":")
    if not module or not function:
        raise UsageError(f"--script: {name!r} is not MODULE:FUNCTION, as talks:login")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function)
    except (Exception, SystemExit) as error:
        raise UsageError(f"--script: {name} cannot be loaded: {_told(error)}") from None
    if not inspect.isgeneratorfunction(found):
        raise UsageError(f"--script: {name} is no generator function: let it yield what to send, as bytes")
    try:
        inspect.signature(found).bind(0)
    except TypeError as error:
        raise UsageError(
            f"--script: {name} does not take the number of a request alone ({error}); write it as "
            f"def {function}(number)"
        ) from None
    script: Script = found
    return script


def _host_header(aim: Aim) -> str:
    host = f"[{aim.host}]" if ":" in aim.host else aim.host
    return host if aim.port in (0, 443 if aim.is_tls else 80) else f"{host}:{aim.port}"


def _told(error: BaseException) -> str:
    """In characters that can be written anywhere: not all that Python has in a text can, as halves of a surrogate."""
    return f"{type(error).__name__}: {error}".rstrip(": ").encode(errors="backslashreplace").decode()


def _shown(data: bytes) -> str:
    """So much of it as a line can bear."""
    return repr(data) if len(data) <= SHOWN else f"{data[:SHOWN]!r}… ({len(data)} bytes)"
