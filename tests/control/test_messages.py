"""What crosses the control socket: a record is a line, and whatever is none gets one clear refusal."""

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prefork.control.messages import (
    REQUEST_MAX,
    VERSION,
    Done,
    Dump,
    Events,
    Failed,
    Heard,
    LogLevel,
    Pause,
    Ping,
    Pong,
    Progress,
    ProtocolError,
    Recycle,
    Refork,
    Refused,
    Reload,
    ReopenLogs,
    Reply,
    Request,
    RequestStatus,
    Resume,
    Scale,
    Status,
    Stop,
    Told,
    Upgrade,
    Workers,
    WorkerStatus,
    encode,
    read_reply,
    read_request,
)

REQUESTS = [
    Ping(),
    Status(),
    Reload(progress=True),
    Refork(service="echo", progress=True),
    Stop(now=True),
    Scale(service="echo", to=6),
    Upgrade(progress=True),
    Scale(service="e", by=-1),
    Recycle(service="echo", who=3, now=True, progress=True),
    Dump(who=4711),
    Pause(service="echo"),
    Resume(service="echo"),
    ReopenLogs(),
    LogLevel(level="debug"),
    Events(last=10),
    Events(last=10, follow=False),
]
WORKER = WorkerStatus(
    slot=1,
    pid=7,
    generation=2,
    state="busy",
    state_seconds=1.5,
    current=[RequestStatus(peer="10.0.0.7:1", number=3, age_seconds=0.25, label="two\nlines")],
)
REPLIES = [
    Heard(),
    Progress(text="a\nb"),
    Progress(text="3 of 4", service="echo", done=3, total=4),
    Told(at=1.5, level="warning", event="worker-exited", text="gone", service="echo", slot=1, pid=7, generation=2),
    Done(text="well"),
    Pong(name="shop", pid=1, package="1.0"),
    Refused(why="no"),
    Failed(why="Traceback:\n  …\nboom"),
    Workers(service="echo", workers=[WORKER]),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=repr)
def test_a_request_survives_the_way(request_: Request) -> None:
    """Typed on both sides, a line between."""
    line = encode(request_)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert read_request(line) == request_


@pytest.mark.parametrize("reply", REPLIES, ids=repr)
def test_a_reply_survives_the_way(reply: Reply) -> None:
    """A traceback keeps its lines, and is one line meanwhile."""
    line = encode(reply)
    assert line.count(b"\n") == 1
    assert read_reply(line) == reply


def test_what_utf_8_cannot_say_is_replaced() -> None:
    """A file name of odd bytes may stand in a traceback, and must not end the master that tells of it."""
    line = encode(Failed(why="cannot open caf\udce9\n"))
    assert line.count(b"\n") == 1
    assert read_reply(line) == Failed(why="cannot open caf?\n")


def test_every_record_tells_its_version_and_its_kind() -> None:
    """Whoever reads it without our code can rely on both."""
    assert json.loads(encode(Scale(service="echo", by=2))) == {
        "kind": "scale",
        "version": VERSION,
        "service": "echo",
        "to": None,
        "by": 2,
    }


def test_another_version_is_named() -> None:
    """Whatever its other fields are, even of a kind that does not exist yet."""
    with pytest.raises(ProtocolError, match="speaks version 7 of the protocol, and this one 1"):
        read_request(b'{"kind":"levitate","version":7,"height":{"metres":3}}')


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "truncated"),
        (b"reload", "malformed"),
        (b"[1]", "array"),
        (b'{"kind":"reload"}', "version"),
        (b'{"version":1}', "kind"),
        (b'{"kind":"levitate","version":1}', "levitate"),
        (b'{"kind":"done","version":1}', "done"),
        (b'{"kind":"scale","version":1}', "service"),
        (b'{"kind":"scale","version":1,"service":"a","by":"two"}', "by"),
        (b'{"kind":"stop","version":1,"force":true}', "force"),
        (b'{"kind":"stop","version":1,"now":"\xff"}', "now|utf-8"),
        (b'{"kind":"ping","version":1,"deep":' + b"[" * 4000, "recursion|truncated|deep"),
    ],
)
def test_what_is_no_request_is_told_why(line: bytes, why: str) -> None:
    """One line that names the trouble."""
    with pytest.raises(ProtocolError, match=why) as caught:
        read_request(line)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=REQUEST_MAX))
@example(b"[" * REQUEST_MAX)
@example(b'{"a":' * 800)
@example(b'{"kind":"scale","version":1,"service":"\\ud800"}')
def test_no_junk_raises_anything_else(line: bytes) -> None:
    """It is a request, or a protocol error."""
    with contextlib.suppress(ProtocolError):
        read_request(line)
