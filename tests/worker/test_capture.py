"""What is printed becomes records, and nothing that is printed is lost; one promise a test."""

import json
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefork.system.logline import Who
from prefork.system.logs import Logs, set_up
from prefork.worker import capture
from tests.children import Link, said_by


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prefork.log"


def printed(path: Path, act: Callable[[], object]) -> list[tuple[str, str, str]]:
    """Level, stream and text of the records that a captured process makes of what ``act`` prints."""

    def live(parent: Link) -> None:
        log = set_up(Logs(str(path), form="json", captures=True), Who("worker", "shop", "echo", 2, 3))
        capture.begin(log)
        act()
        capture.end()

    said_by(live)
    lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    assert {(line["service"], line["slot"], line["generation"]) for line in lines} <= {("echo", 2, 3)}
    return [(line["level"], line.get("stream", ""), line["message"]) for line in lines]


def test_each_line_is_a_record(path: Path) -> None:
    """However it is put together."""

    def act() -> None:
        print("one", 2, "three")
        print("half", end="")
        print(" and half\n\nnext")
        sys.stderr.write("oops\n")
        sys.stdout.buffer.write(b"bytes \xff\n")

    assert printed(path, act) == [
        ("info", "stdout", "one 2 three"),
        ("info", "stdout", "half and half"),
        ("info", "stdout", "next"),
        ("warning", "stderr", "oops"),
        ("info", "stdout", "bytes \\xff"),
    ]


def test_a_line_that_never_ends_is_told_at_the_end(path: Path) -> None:
    """And one that is too long in parts, none of which is lost."""

    def act() -> None:
        print("x" * (capture.LONGEST + 5), end="")

    assert printed(path, act) == [("info", "stdout", "x" * capture.LONGEST), ("info", "stdout", "x" * 5)]


def test_a_line_that_is_too_long_is_several_records(path: Path) -> None:
    """Also where it came with its end, at once or bit by bit; no character is cut in two."""

    def act() -> None:
        print("x" * (capture.LONGEST * 2 + 5))
        print("y" * 10, end="")
        print("y" * capture.LONGEST)
        print("z" + "\N{SNOWMAN}" * capture.LONGEST)

    texts = [text for _, _, text in printed(path, act)]
    assert [len(text) for text in texts[:5]] == [capture.LONGEST, capture.LONGEST, 5, capture.LONGEST, 10]
    assert "".join(texts[5:]) == "z" + "\N{SNOWMAN}" * capture.LONGEST
    assert all(len(text.encode()) <= capture.LONGEST for text in texts)


def test_a_child_does_not_tell_what_its_parent_has_begun(path: Path) -> None:
    """Nor the parent what the child has printed."""

    def act() -> None:
        print("parent", end=" ")
        if (pid := os.fork()) == 0:
            capture.forget()
            print("child", end="")
            capture.end()
            os._exit(0)
        os.waitpid(pid, 0)
        print("goes on")

    assert [text for _, _, text in printed(path, act)] == ["child", "parent goes on"]


def test_lines_of_several_threads_do_not_mix(path: Path) -> None:
    """Each has its own that it has begun."""

    def act() -> None:
        print("main", end=" ")
        other = threading.Thread(target=print, args=("other",))
        other.start()
        other.join()
        print("goes on")

    assert [text for _, _, text in printed(path, act)] == ["other", "main goes on"]


def test_a_warning_is_one_record(path: Path) -> None:
    """With its place, as the interpreter prints it."""

    def act() -> None:
        warnings.simplefilter("always")
        warnings.warn("careful", stacklevel=1)

    ((level, _, text),) = printed(path, act)
    assert level == "warning"
    assert "UserWarning: careful" in text


def test_programs_and_c_code_write_into_the_log_file(path: Path) -> None:
    """As they are, for nobody reads them; also after it was opened anew."""

    def live(parent: Link) -> None:
        log = set_up(Logs(str(path), captures=True), Who("worker", "shop"))
        capture.begin(log)
        subprocess.run(["sh", "-c", "echo out; echo err >&2"], check=True)
        path.rename(path.with_suffix(".1"))
        log.reopen()
        os.write(1, b"later\n")

    said_by(live)
    assert path.with_suffix(".1").read_text() == "out\nerr\n"
    assert path.read_text() == "later\n"


def test_whoever_asks_for_the_descriptor_gets_one(path: Path) -> None:
    """As programs that are started with it do."""

    def act() -> None:
        subprocess.run(["true"], stdout=sys.stdout, stderr=sys.stderr, check=True)
        print(sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.isatty())

    assert [text for _, _, text in printed(path, act)] == ["1 2 False"]
