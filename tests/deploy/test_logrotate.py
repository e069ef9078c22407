"""The real logrotate takes the files of a real instance away, under load, and no line is lost."""

import gzip
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.harness import STREAM, Master, look_until
from tests.end_to_end.load import Load
from tests.end_to_end.nobody import NOBODY, open_the_way
from tests.end_to_end.test_logs import free_port

pytestmark = [
    pytest.mark.deployed,
    pytest.mark.skipif(
        shutil.which("logrotate") is None or os.geteuid() != 0, reason="logrotate is not installed, or we are not root"
    ),
]

WRITTEN = Path(__file__).parents[2] / "deploy" / "logrotate" / "shop"
ROTATIONS = 3


def become_nobody() -> None:
    open_the_way()
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where an instance that is nobody may log."""
    with tempfile.TemporaryDirectory(prefix="prefork-log-") as name:
        os.chown(name, NOBODY, NOBODY)
        yield Path(name)


class Logrotate:
    """logrotate as cron starts it, by the file that we ship, with this directory and user in it."""

    def __init__(self, logs: Path, own: Path) -> None:
        text = WRITTEN.read_text()
        for ours, here in (("/var/log/shop/", f"{logs}/"), ("su shop shop", "su nobody nogroup")):
            assert ours in text
            text = text.replace(ours, here)
        self._config = own / "shop"
        self._config.write_text(text)
        self._config.chmod(0o644)
        self._state = own / "state"

    def run(self, *flags: str) -> str:
        """What it says of what it does."""
        command = ["logrotate", "--verbose", *flags, "--state", str(self._state), str(self._config)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "error" not in done.stderr
        return done.stderr


def read_all(directory: Path, name: str) -> list[dict[str, Any]]:
    """Every line of a log and of what was rotated away."""
    lines: list[str] = []
    for path in directory.glob(f"{name}*"):
        text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
        lines += text.splitlines()
    return [json.loads(line) for line in lines]


def open_files(master: Master) -> set[str]:
    """What the processes of the instance have open."""
    found = set()
    for process in master.processes():
        for link in Path(f"/proc/{process.pid}/fd").glob("*"):
            try:
                found.add(os.readlink(link))
            except FileNotFoundError:  # it was closed meanwhile, or the process has ended
                continue
    return found


def test_logrotate_takes_files_away_and_no_line_is_lost(directory: Path, tmp_path: Path) -> None:
    """Of an instance that is not root, which nobody tells; each request has its line, in one of the files."""
    log, access = directory / "shop.log", directory / "access.log"
    flags = ["--log-file", str(log), "--access-log", str(access), "--log-format", "json"]
    logrotate = Logrotate(directory, tmp_path)
    with Master(STREAM, "-b", free_port(), "-w", "3", *flags, before_exec=become_nobody) as master:
        look_until(lambda: log.exists() and "generation 1 serves" in log.read_text(), "it serves")
        with Load(bind_of(log), clients=6) as load:
            for _ in range(ROTATIONS):
                load.wait_answered(300)
                assert "considering log" in logrotate.run("--force")
                look_until(access.exists, "there is a new file")
                look_until(lambda: f"{access}.1" not in open_files(master), "all write to it")
            load.wait_answered(300)
            outcome = load.finish()
        master.stop()
    assert (outcome.wrong, outcome.lost, outcome.refused, outcome.unanswered) == (0, 0, 0, 0)
    assert {path.name for path in directory.glob("access*")} == {
        "access.log",
        "access.log.1",
        *(f"access.log.{number}.gz" for number in range(2, ROTATIONS + 1)),
    }
    lines = read_all(directory, "access.log")
    assert len(lines) == outcome.answered
    assert len({(line["pid"], line["request"]) for line in lines}) == outcome.answered
    assert {path.stat().st_uid for path in directory.iterdir()} == {NOBODY}
    told = [line["message"] for line in read_all(directory, "shop.log")]
    assert told.count("stopped, exit 0") == 1


def bind_of(log: Path) -> str:
    (line,) = [line for line in log.read_text().splitlines() if "listening on tcp" in line]
    return str(json.loads(line)["message"]).rpartition(" ")[2]


def test_the_page_shows_what_is_shipped() -> None:
    """In docs/logs.md, but for its comments."""
    shipped = "".join(line for line in WRITTEN.read_text().splitlines(keepends=True) if not line.startswith("#"))
    assert f"```text\n{shipped}```\n" in (WRITTEN.parents[2] / "docs" / "logs.md").read_text()


def test_what_is_there_is_not_rotated_too_soon(directory: Path, tmp_path: Path) -> None:
    """An instance that was never started, or has logged nothing yet, is no error; nor is a file of today."""
    logrotate = Logrotate(directory, tmp_path)
    logrotate.run()
    (directory / "shop.log").touch()
    os.chown(directory / "shop.log", NOBODY, NOBODY)
    logrotate.run("--force")
    logrotate.run()
    assert [path.name for path in directory.iterdir()] == ["shop.log"]
