"""Looking, where the kernel tells little: in a container or a sandbox, as a user who may see nothing."""

from pathlib import Path

import pytest

from prefork.doctor.checks import examine
from prefork.doctor.facts import Unit, UnknownError
from prefork.doctor.looking import look
from prefork.system import clocks, sysctl


def test_what_is_not_told_is_remembered_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And all checks are made; none fails for it."""
    monkeypatch.setattr(sysctl, "SETTINGS", str(tmp_path))
    monkeypatch.setattr(sysctl, "COUNTERS", str(tmp_path))
    monkeypatch.setattr(clocks, "SOURCE", str(tmp_path / "nosuch"))
    facts = look()
    with pytest.raises(UnknownError, match="somaxconn could not be read: no such file or directory"):
        facts.number("net.core.somaxconn")
    skipped = {f.about for findings in examine(facts).values() for f in findings if f.verdict == "skipped"}
    assert {"backlog", "turned away", "handshakes", "overcommit", "files of the machine"} <= skipped
    assert "clock" not in skipped  # what a look costs is known all the same


def test_what_may_not_be_read_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user is told that it is for others, and not for want of a file."""

    def refuse(name: str) -> list[int]:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(sysctl, "setting", refuse)
    with pytest.raises(UnknownError, match="could not be read: not readable as this user"):
        look().number("net.core.somaxconn")


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("4096", (4096, 4096)),
        ("1024:infinity", (1024, -1)),
        ("infinity", (-1, -1)),
        *[(odd, (1024, 524288)) for odd in ("", "many", "64K", "1:2:3")],
    ],
)
def test_the_limit_of_files_is_as_systemd_reads_it(text: str, limit: tuple[int, int]) -> None:
    """What it cannot read it ignores."""
    facts = look(unit=Unit("/etc/systemd/system/shop.service", {"LimitNOFILE": text}))
    assert facts.limit("Max open files") == limit


def test_this_machine_tells_what_checks_want() -> None:
    """Here, whatever it is, most can be judged."""
    findings = [finding for findings in examine(look()).values() for finding in findings]
    assert sum(finding.verdict != "skipped" for finding in findings) > 10
