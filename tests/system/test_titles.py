"""Titles as others see them, in ``/proc/PID/cmdline`` and by ps(1); each test asks a fresh interpreter."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PRELUDE = """
import os, subprocess, sys, json
from prefork.system import titles
def cmdline():
    return open("/proc/self/cmdline").read().rstrip(chr(0))
def ps(column):
    return subprocess.check_output(["ps", "-o", column + "=", "-p", str(os.getpid())], text=True).strip()
def say(*values):
    print(json.dumps(values))
"""


def said_by(code: str, **environment: str) -> Any:
    """The values that a program says at its end. Its environment has room for a title of some length."""
    environment = {"PATH": os.environ["PATH"], "ROOM": "x" * 300, **environment}
    argv = [sys.executable, "-c", PRELUDE + code]
    root = Path(__file__).parents[2]
    return json.loads(subprocess.check_output(argv, env={"PYTHONPATH": str(root), **environment}, text=True))


def test_a_title_is_shown_without_a_system_call() -> None:
    """A title that is shown reaches the process list, though nobody asked the library to set it."""
    code = """
titles.set_title("worker 1 starting")
titles._set = None
titles.show(b"worker 1 busy")
say(cmdline(), ps("args"))
"""
    assert said_by(code) == ["prefork: worker 1 busy"] * 2


def test_a_short_title_leaves_nothing_of_a_longer_one() -> None:
    """Whether either was set in full or shown."""
    code = """
seen = []
for act in (titles.set_title, lambda title: titles.show(title.encode())):
    for then in (titles.set_title, lambda title: titles.show(title.encode())):
        act("a long title " * 10)
        then("short")
        seen.append(cmdline())
        act("a long title " * 10 + "and more")
        seen.append(cmdline())
say(*seen)
"""
    assert said_by(code) == ["prefork: short", "prefork: " + "a long title " * 10 + "and more"] * 4


def test_a_title_longer_than_its_place_is_cut() -> None:
    """It touches nothing beyond: the environment was moved, and the name of the program stands behind it."""
    code = """
titles.set_title("worker")
titles.show(b"y" * 100000)
is_cut = set(cmdline().removeprefix("prefork: ")) == {"y"}
subprocess.check_call(["true"])
say(is_cut, os.environ["ROOM"], subprocess.check_output(["sh", "-c", "echo -n $ROOM"], text=True))
"""
    assert said_by(code) == [True, "x" * 300, "x" * 300]


def test_a_forked_child_shows_its_own() -> None:
    """And its parent keeps its own."""
    code = """
titles.set_title("mold")
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    titles.show(b"worker 1 busy")
    os.write(writer, cmdline().encode())
    os._exit(0)
os.waitpid(pid, 0)
say(cmdline(), os.read(reader, 100).decode())
"""
    assert said_by(code) == ["prefork: mold", "prefork: worker 1 busy"]


def test_the_name_is_what_was_set_in_full() -> None:
    """ps -o comm shows the beginning of the last full title."""
    code = """
titles.set_title("worker")
titles.show(b"busy")
say(ps("comm"))
"""
    assert said_by(code) == ["prefork: worker"]


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param("def no_file(*arguments): raise FileNotFoundError\ntitles.open = no_file", id="no /proc"),
        pytest.param("titles._find_area = lambda text: titles._NOTHING", id="another one"),
    ],
)
def test_where_the_place_is_unknown_titles_are_set_in_full(trouble: str) -> None:
    """``show`` costs more then, and does the same."""
    code = f"""
{trouble}
titles.set_title("worker")
titles.show(b"busy")
say(cmdline())
"""
    assert said_by(code) == ["prefork: busy"]


def test_nothing_is_set_before_the_first_title() -> None:
    """``show`` alone does what ``set_title`` does."""
    assert said_by('titles.show(b"busy"); say(cmdline())') == ["prefork: busy"]


def test_a_wrong_place_is_not_written_to() -> None:
    """The place must show what was just set."""
    assert said_by('titles.set_title("worker"); say(len(titles._find_area(b"somebody else")))') == [0]


def test_an_environment_that_stays_is_not_overwritten() -> None:
    """``SPT_NOENV`` tells setproctitle to leave it where it is: titles have the room of the arguments alone."""
    code = """
titles.set_title("worker")
titles.show(b"y" * 100000)
say(len(cmdline()) < 100000, open("/proc/self/environ").read().count("x" * 300))
"""
    assert said_by(code, SPT_NOENV="1") == [True, 1]


@pytest.mark.parametrize("is_found", [True, False])
def test_a_title_whose_beginning_stays_shows_its_rest(is_found: bool) -> None:
    """Shorter and longer rests, and what is set in full in between; also where the place is unknown."""
    code = f"""
if not {is_found}:
    titles._find_area = lambda text: titles._NOTHING
titles.set_title("worker 1 starting, which takes a while")
title = titles.Title("worker 1 ", 40)
seen = []
for rest in (b"idle", b"busy 10.0.0.7:51022 #1841", b"idle"):
    title.show(rest)
    seen.append(cmdline())
titles.set_title("worker 1 retiring")
seen.append(cmdline())
title.show(b"idle")
seen.append(cmdline())
say(*seen)
"""
    expected = ["idle", "busy 10.0.0.7:51022 #1841", "idle", "retiring", "idle"]
    assert said_by(code) == [f"prefork: worker 1 {rest}" for rest in expected]


def test_a_rest_longer_than_its_place_is_cut() -> None:
    """It touches nothing beyond."""
    code = """
titles.set_title("worker 1 starting")
titles.Title("worker 1 ", 10).show(b"0123456789abc" * 100)
say(cmdline())
"""
    assert said_by(code) == ["prefork: worker 1 0123456789"]
