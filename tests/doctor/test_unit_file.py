"""A service unit as systemd would read it."""

import sys
from pathlib import Path

import pytest

from prefork.doctor.unit import seconds
from prefork.doctor.unit_file import ask_systemd, parse, read_unit
from prefork.errors import UsageError

UNIT = """
[Unit]
Description=TimeoutStopSec=1
[Service]
# Type=forking
; Type=forking
Type = notify
TimeoutStopSec=10
TimeoutStopSec=45s
ReadWritePaths=/a /b
ReadWritePaths=
ReadWritePaths=/c
ReadWritePaths=/d
ExecStart=/bin/sh -c \\
   true
[Install]
Type=oneshot
"""


def test_the_last_one_holds_and_of_lists_all() -> None:
    """An empty one forgets those before; lines may go on, comments are none."""
    assert parse(UNIT) == {
        "Type": "notify",
        "TimeoutStopSec": "45s",
        "ReadWritePaths": "/c /d",
        "ExecStart": "/bin/sh -c     true",
    }


def test_programs_that_are_not_there_are_named(tmp_path: Path) -> None:
    """By their full path; what systemd would look up itself is left to it."""
    path = tmp_path / "shop.service"
    for command, missing in (
        ("/nonexistent/prefork run", ("/nonexistent/prefork",)),
        ("-/nonexistent/prefork run", ("/nonexistent/prefork",)),
        (f"{sys.executable} -m prefork", ()),
        ("prefork run", ()),
    ):
        path.write_text(f"[Service]\nExecStart={command}\n")
        assert read_unit(str(path)).programs_missing == missing


@pytest.mark.parametrize(
    ("user", "is_there"), [("", True), ("nobody", True), ("nosuch", False), ("1234", True), ("%i", True)]
)
def test_whether_its_user_is_there(user: str, is_there: bool, tmp_path: Path) -> None:
    """A number is one without an entry too, and what systemd fills in is its affair."""
    path = tmp_path / "shop.service"
    path.write_text(f"[Service]\nType=notify\nUser={user}\n")
    assert read_unit(str(path)).has_user == is_there


@pytest.mark.parametrize(("text", "why"), [(None, "no such file or directory"), ("[Unit]\n", r"has no \[Service\]")])
def test_what_is_no_unit_is_an_error(tmp_path: Path, text: str | None, why: str) -> None:
    """One line, with the remedy."""
    path = tmp_path / "shop.service"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=f"--unit: .*{why}; give the path of a .service file"):
        read_unit(str(path))


@pytest.mark.parametrize("named", ["shop", "shop.service"])
def test_an_installed_unit_has_a_name(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The administrator's comes before the system's, and a file in the working directory before both."""
    etc, usr, here = (tmp_path / name for name in ("etc", "usr", "here"))
    monkeypatch.setattr("prefork.doctor.unit_file._PLACES", (str(etc), str(usr)))
    for place in (usr, etc, here):
        place.mkdir()
    monkeypatch.chdir(here)
    for place in (usr, etc):
        (place / "shop.service").write_text("[Service]\nType=notify\n")
        assert read_unit(named).shown == str(place / "shop.service")
    (here / named).write_text("[Service]\nType=notify\n")
    assert read_unit(named).shown == str(here / named)


def test_systemd_tells_all_drop_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under names that differ a little from those of files."""
    program = tmp_path / "systemctl"
    told = "Type=notify\nTimeoutStopUSec=1min 30s\nExecStart={ path=/a ; argv[]=/a }\nUser=\nOOMPolicy=stop"
    program.write_text(f"#!/bin/sh\n[ \"$*\" = 'show shop.service' ] && printf '%s\\n' '{told}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    unit = ask_systemd("shop.service")
    assert unit.shown == "shop.service"
    assert unit.values == {"Type": "notify", "TimeoutStopSec": "1min 30s", "OOMPolicy": "stop"}
    with pytest.raises(OSError, match=r"systemctl show other\.service fails"):
        ask_systemd("other.service")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(OSError, match="there is no systemctl here"):
        ask_systemd("shop.service")


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("45", 45.0),
        ("45s", 45.0),
        ("1min 30s", 90.0),
        ("2h", 7200.0),
        ("500ms", 0.5),
        ("infinity", float("inf")),
        ("0", float("inf")),
    ],
)
def test_time_spans(text: str, length: float) -> None:
    """systemd.time(7); 0 and infinity wait for ever."""
    assert seconds(text) == length
