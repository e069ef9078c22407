"""Log lines: one record of ``logging`` as a line for people, or as JSON for programs, signed by who writes it.

It must not know where lines go. Whatever a record was given as ``extra`` is part of its JSON; the console shows the
text, and behind it what has several lines: a traceback, stacks.
Invariant: a line of JSON holds no line break and parses, whatever the application logs; who writes it, and when, is
nobody's ``extra``.
Read next: ``logfile.py``, where lines go; ``docs/logs.md``, the keys for their users.
"""

import json
import logging
import math
import time
from collections.abc import Container
from typing import Any, Literal, NamedTuple

Process = Literal["master", "mold", "worker", "child", "admin"]

FORMATS = ("console", "json")
_STANDARD = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"})


class Who(NamedTuple):
    """Who writes a line.

    :param service: empty for the master and the admin process.
    :param slot: 0 for whoever has none, as ``generation``.
    """

    process: Process
    instance: str
    service: str = ""
    slot: int = 0
    generation: int = 0

    def __str__(self) -> str:
        """``shop/echo worker 2 g3``, as the console has it."""
        name = f"{self.instance}/{self.service}" if self.service else self.instance
        parts = [name, "" if self.process == "master" else self.process]
        parts += [str(self.slot) if self.slot else "", f"g{self.generation}" if self.generation else ""]
        return " ".join(part for part in parts if part)

    @property
    def role(self) -> str:
        """``echo worker 2 g3``: in the instance, as who looks at one knows its name. Empty of the master."""
        return str(self._replace(instance="")).removeprefix("/").strip()

    def fields(self) -> dict[str, Any]:
        """What is known of it, by the keys of JSON."""
        known = {key: value for key, value in self._asdict().items() if value}
        return {key: known[key] for key in ("instance", "service", "process", "slot", "generation") if key in known}


def extras(record: logging.LogRecord, signed: Container[str] = ()) -> dict[str, Any]:
    """What the record was given besides its text.

    :param signed: keys, in lower case, that are taken; what would be ``service`` as well is ``service_extra``.
    """
    given = {key: value for key, value in record.__dict__.items() if key not in _STANDARD and value is not None}
    return {f"{key}_extra" if str(key).lower() in signed else key: value for key, value in given.items()}


def tell_stack(logger: logging.Logger, stack: str, message: str, *args: object, **extra: object) -> None:
    """Log a stack with a text, as a warning; where the standard library keeps one, so that every formatter shows it."""
    if logger.isEnabledFor(logging.WARNING):
        told = stack.rstrip() or None
        record = logger.makeRecord(logger.name, logging.WARNING, "", 0, message, args, None, extra=extra, sinfo=told)
        logger.handle(record)


class Line(logging.Formatter):
    """``2026-11-21T12:03:00.123Z INFO shop/echo worker 2 g3 [4711] text``.

    :param has_head: whether time and level are part of it.
    """

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, who: Who, *, has_head: bool = True) -> None:
        name = str(who).replace("%", "%%")
        super().__init__(f"%(asctime)s %(levelname)s {name} [%(process)d] %(message)s" if has_head else "%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).rstrip("\n")


class JSONLine(logging.Formatter):
    """One JSON object, of what is known and nothing else."""

    def __init__(self, who: Who) -> None:
        super().__init__()
        self._who = who.fields()

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"time": _time(record), "level": record.levelname.lower(), **self._who}
        line |= {"pid": record.process, "logger": record.name, "message": record.getMessage().rstrip("\n")}
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)  # kept there for other handlers, as by the original
        if record.exc_text:
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = record.stack_info
        return _dump(line | extras(record, signed=line))


def _time(record: logging.LogRecord) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{moment}.{int(record.msecs):03d}Z"


def _dump(line: dict[str, Any]) -> str:
    try:
        return json.dumps(line, ensure_ascii=False, allow_nan=False, default=str)
    except (TypeError, ValueError):  # keys of odd kinds, a value within itself, no number
        return json.dumps({key: _plain(value) for key, value in line.items()}, ensure_ascii=False)


def _plain(value: Any) -> Any:
    is_plain = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if is_plain else str(value)


def formatter(kind: str, who: Who) -> logging.Formatter:
    """:param kind: one of ``FORMATS``."""
    return JSONLine(who) if kind == "json" else Line(who)
