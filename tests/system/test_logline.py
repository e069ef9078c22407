"""A record becomes one line, for people or for programs, whatever it holds; one promise a test."""

import json
import logging
import os
import sys
from typing import Any

import pytest

from prefork.system.logline import JSONLine, Line, Who, formatter, tell_stack

WORKER = Who("worker", "shop", "echo", 2, 3)


class Kept(logging.Handler):
    """Keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def record(message: str, *args: object, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("app").makeRecord("app", level, "", 0, message, args, None, extra=extra)


def parsed(one: logging.LogRecord, who: Who = WORKER) -> dict[str, Any]:
    line = JSONLine(who).format(one)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.mark.parametrize(
    ("who", "shown"),
    [
        (Who("master", "shop"), "shop"),
        (Who("mold", "shop", "echo", generation=3), "shop/echo mold g3"),
        (WORKER, "shop/echo worker 2 g3"),
        (WORKER._replace(process="child"), "shop/echo child 2 g3"),
        (Who("admin", "shop"), "shop admin"),
    ],
)
def test_everybody_has_a_signature(who: Who, shown: str) -> None:
    """As titles have it, the generation included."""
    assert str(who) == shown


def test_a_line_of_json_says_what_is_known_and_nothing_else() -> None:
    """Keys are the documented ones; what nobody knows is left out."""
    found = parsed(record("%d apples", 3))
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "info",
        "instance": "shop",
        "service": "echo",
        "process": "worker",
        "slot": 2,
        "generation": 3,
        "pid": os.getpid(),
        "logger": "app",
        "message": "3 apples",
    }
    assert not {"service", "slot", "generation"} & parsed(record("x"), Who("master", "shop")).keys()


def test_a_line_of_the_master_names_whom_it_tells_of() -> None:
    """Service, slot and generation of another win over the writer's own; the pid stays the writer's."""
    told: dict[str, Any] = {"service": "echo", "slot": 2, "worker_pid": 17, "generation": 3, "event": "worker-exited"}
    found = parsed(record("gone", **told), Who("master", "shop"))
    assert {key: found[key] for key in told} == told
    assert (found["process"], found["pid"]) == ("master", os.getpid())


def test_what_the_application_adds_never_says_who_writes() -> None:
    """It stands beside what the line says of itself, whatever it is called; what is not taken keeps its name."""
    added: dict[str, Any] = {"service": "billing", "slot": 9, "pid": 1, "logger": "x", "time": "noon", "Level": "high"}
    plain, found = parsed(record("x")), parsed(record("x", **added, customer=7))
    assert {key: found.pop(f"{key}_extra") for key in added} == added
    assert found.pop("customer") == 7
    assert found.keys() == plain.keys()
    assert all(found[key] == plain[key] for key in plain.keys() - {"time"})


def test_a_traceback_is_one_line_of_json_and_several_of_the_console() -> None:
    """It is a field, or follows the text."""
    try:
        raise LookupError("gone")
    except LookupError:
        one = logging.getLogger("app").makeRecord("app", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    assert parsed(one)["exception"].splitlines()[-1] == "LookupError: gone"
    first, *rest = Line(WORKER).format(one).splitlines()
    assert first.endswith(f"ERROR shop/echo worker 2 g3 [{os.getpid()}] failed")
    assert rest[0].startswith("Traceback")
    assert rest[-1] == "LookupError: gone"


def test_stacks_follow_the_text() -> None:
    """As a traceback does."""
    logger = logging.Logger("app")
    kept = Kept()
    logger.addHandler(kept)
    tell_stack(logger, "File 1\nFile 2\n", "stacks of %d", 7, event="stacks")
    (one,) = kept.records
    assert Line(WORKER).format(one).endswith("stacks of 7\nFile 1\nFile 2")
    assert (parsed(one)["stack"], parsed(one)["event"]) == ("File 1\nFile 2", "stacks")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (object, str(object)),
        (float("nan"), "nan"),
        ({1: float("inf")}, "{1: inf}"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (b"\xff", "b'\\xff'"),
        ("cannot read \udcff", "cannot read \udcff"),
    ],
)
def test_whatever_an_application_adds_parses(value: object, read: object) -> None:
    """What is no JSON is its text."""
    line = JSONLine(WORKER).format(record("x", thing=value)).encode(errors="backslashreplace")
    assert json.loads(line)["thing"] == read


def test_a_value_within_itself_parses() -> None:
    """It has a text as well."""
    endless: list[object] = []
    endless.append(endless)
    assert parsed(record("x", thing=endless))["thing"] == "[[...]]"


def test_nobody_forges_the_head_of_a_line() -> None:
    """An application's field of such a name does not hide who wrote when."""
    found = parsed(record("x", time="never", pid=1))
    assert found["pid"] == os.getpid()
    assert found["time"] != "never"


def test_the_format_is_chosen_by_name() -> None:
    """``console`` and ``json``."""
    assert isinstance(formatter("json", WORKER), JSONLine)
    assert isinstance(formatter("console", WORKER), Line)
