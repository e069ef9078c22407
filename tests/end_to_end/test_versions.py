"""Versions of the package, installed one over the other in one environment while a master of it serves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.clients import LIMIT
from tests.end_to_end.harness import ROOT, STREAM, TCP, Master, Watched
from tests.end_to_end.installation import Installation
from tests.end_to_end.load import Load
from tests.end_to_end.test_control import NAMED


class Environment:
    """A virtual environment with the script ``prefork``, and the libraries of the interpreter that runs the tests.

    :param directory: it and all it needs are made there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._home = directory / "environment"
        venv.create(self._home, with_pip=False, symlinks=True)
        (site,) = (self._home / "lib").glob("python3.*/site-packages")
        # paths only: no .pth file there is read, so the package that is being tested is not on it by that
        (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.python = str(self._home / "bin" / "python")
        self.script = str(self._home / "bin" / "prefork")
        self.lib = directory / "lib"  # where the applications are, and the source of the package is not
        self.lib.mkdir()
        (self.lib / "tests").symlink_to(ROOT / "tests")

    def wheel(self, version: str, *edits: tuple[str, str]) -> Path:
        """Build a version of the source; ``edits`` are files of the package with what is appended to them."""
        source = self._directory / version
        shutil.copytree(ROOT / "deploy" / "packaging", source / "deploy" / "packaging")
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        Installation(source).become(version)
        for file, text in edits:
            with (source / "prefork" / file).open("a") as code:
                code.write(text)
        # a broken version could not be asked for its help: without manual pages
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "--no-hooks", "-d", str(self._directory)]
        _run(build, cwd=source)
        (wheel,) = self._directory.glob(f"prefork-{version}-*.whl")
        return wheel

    def install(self, wheel: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", self.python]
        _run([*pip, "install", "--quiet", "--no-index", "--no-deps", "--force-reinstall", str(wheel)])

    def steer(self, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """The installed command, to the instance of this test."""
        env = {**os.environ, "PYTHONPATH": ""}
        line = [self.script, command, *NAMED, *arguments]
        return subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, env=env, cwd=self._directory)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.steer("status", "--json").stdout)
        return found


def _run(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=4 * LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_versions_follow_each_other_under_load(tmp_path: Path) -> None:
    """A new one goes on where the old one stopped; a broken one is refused, asked for by command or by signal."""
    environment = Environment(tmp_path)
    first, second = environment.wheel("0.1.1"), environment.wheel("0.2.0")
    broken = environment.wheel("0.3.0", ("master/loop.py", "\nimport no_such_module\n"))
    fixed = environment.wheel("0.3.1")
    environment.install(first)
    with (
        Master(
            STREAM, *NAMED, "-b", TCP, "-w", "2", command=[environment.script], cwd=tmp_path, pythonpath=environment.lib
        ) as master,
        Load(master.bind(), clients=8) as load,
    ):
        master.wait_serving()
        assert environment.steer("scale", "apps", "+1").returncode == 0
        load.wait_answered(500)
        before = environment.status()
        assert before["package"] == "0.1.1"

        environment.install(second)
        with Watched(master.workers().values()) as old:
            upgraded = environment.steer("upgrade")
            assert (upgraded.returncode, upgraded.stderr) == (0, "")
            assert "version 0.2.0 goes on from version 0.1.1" in upgraded.stdout
            old.wait_all()
        after = environment.status()
        assert (after["package"], after["pid"]) == ("0.2.0", before["pid"])
        (service,) = after["services"]
        assert (service["wanted"], service["configured"]) == (3, [2, 2])
        assert service["requests"] > before["services"][0]["requests"] >= 500
        load.wait_answered(500)

        environment.install(broken)
        workers = master.workers()
        refused = environment.steer("upgrade")
        assert refused.returncode == 3
        assert "No module named 'no_such_module'" in refused.stderr
        master.signal(signal.SIGUSR2)
        master.wait_for("upgrade refused", count=2)
        assert master.workers() == workers
        assert environment.status()["package"] == "0.2.0"
        load.wait_answered(500)

        environment.install(fixed)
        assert environment.steer("upgrade").returncode == 0
        assert environment.status()["package"] == "0.3.1"
        load.wait_answered(500)
        outcome = load.finish()
        assert outcome.refused == outcome.admitted_in_vain == 0, outcome
