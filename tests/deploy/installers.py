"""The page on installing, run as it stands: each section installs, upgrades and uninstalls in a home of its own.

    with_uv = Installer("With uv", ".local/bin", tmp_path, interpreter("3.13"))
    with_uv.install(wheel, "metrics")

It must not know what is installed. Invariant: all of it is below one directory of the test; only caches are shared.
"""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.end_to_end.clients import LIMIT
from tests.end_to_end.harness import ROOT

PAGE = ROOT / "docs" / "installing.md"
_REGISTRIES = re.compile(r"(UV|PIP|SSL|REQUESTS)_|.*_proxy$", re.IGNORECASE)  # how packages are got here


def examples(section: str) -> list[str]:
    """What a section of the page says to type, an example after the other."""
    text = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert text is not None, f"{PAGE.name} has no section {section!r}"
    return re.findall(r"^```sh\n(.*?)^```$", text[1], re.MULTILINE | re.DOTALL)


@cache
def interpreter(version: str) -> str:
    """A Python of a version that really runs: a shim that only says "not installed" is none."""
    with_pyenv = subprocess.run("pyenv versions --bare", shell=True, text=True, capture_output=True)
    installed = [line for line in with_pyenv.stdout.split() if line.startswith(f"{version}.")]
    env = {**os.environ, **({"PYENV_VERSION": installed[-1]} if installed else {})}
    command = [f"python{version}", "-c", "import sys; print(sys.executable)"]
    try:
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL, env=env, timeout=LIMIT).strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"there is no Python {version}")


class Installer:
    """A section of the page, for a user whose home is new.

    :param place: below the home, where the section puts commands.
    :param python: the interpreter that is ``python3`` there.
    :ivar prefork: the installed command.
    """

    def __init__(self, section: str, place: str, home: Path, python: str) -> None:
        self._install, self._upgrade, self._uninstall = examples(section)
        self.home = home
        self.prefork = str(home / place / "prefork")
        tools = home / "tools"
        tools.mkdir(parents=True)
        for name, command in {"python3": python, "uv": f"{sys.executable} -m uv"}.items():
            (tools / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (tools / name).chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if _REGISTRIES.match(name)},
            "HOME": str(home),
            "PATH": f"{home / place}:{tools}:/usr/local/bin:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIPX_DEFAULT_PYTHON": python,
            "UV_PYTHON": python,
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", os.path.expanduser("~/.cache/uv")),
            "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", os.path.expanduser("~/.cache/pip")),
        }

    def install(self, wheel: Path, extra: str) -> None:
        self._type(self._install, wheel, extra)

    def upgrade(self, wheel: Path, extra: str, instance: str) -> str:
        """What the last command of it, ``prefork upgrade``, answers; it says whom, for others may run too."""
        return self._type(self._upgrade.replace("prefork upgrade", f"prefork upgrade -n {instance}"), wheel, extra)

    def uninstall(self) -> None:
        self._type(self._uninstall)

    def _type(self, example: str, wheel: Path | None = None, extra: str = "") -> str:
        example = example.replace("/opt/prefork", str(self.home / "opt/prefork"))
        return self.type(example.replace("'prefork[metrics]'", f"'{wheel}[{extra}]'"))

    def type(self, lines: str) -> str:
        """Run lines in a shell of that user; what they print."""
        done = subprocess.run(
            [shutil.which("bash") or "bash", "-euc", lines],
            env=self.environment,
            cwd=self.home,
            text=True,
            capture_output=True,
            timeout=8 * LIMIT,
        )
        assert done.returncode == 0, f"{lines}{done.stdout}{done.stderr}"
        return done.stdout
