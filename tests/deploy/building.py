"""Packages as ``make dist`` builds them: of the tree the tests are in, or of a copy of it, wherever that is.

It must not know what should be in them. Invariant: the environment of the tests is used, and never changed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.end_to_end.clients import LIMIT
from tests.end_to_end.harness import ROOT

CONSTRAINTS = "deploy/packaging/constraints.txt"


class Built(NamedTuple):
    """:param wheel, sdist: their paths."""

    wheel: Path
    sdist: Path

    @classmethod
    def in_directory(cls, directory: Path) -> "Built":
        (wheel,) = directory.glob("*.whl")
        (sdist,) = directory.glob("*.tar.gz")
        return cls(wheel, sdist)


def needs(program: str) -> str:
    """Its path; a test that has come without it is skipped by name."""
    return shutil.which(program) or pytest.skip(f"{program} is not installed")


def source_files() -> list[str]:
    """What is committed, or would be by ``git add``."""
    if not (ROOT / ".git").exists():
        pytest.skip("only git knows what belongs to the source, and this is no clone")
    listed = _run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return sorted(name for name in listed.split("\0") if name and (ROOT / name).exists())


def copy_source(directory: Path) -> Path:
    """The tree anew, with today's dates and nothing that git does not know."""
    for name in source_files():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, path)
        path.chmod(path.stat().st_mode | (ROOT / name).stat().st_mode & 0o100)
    return directory


def make_dist(source: Path, directory: Path, prefix: Sequence[str] = (), umask: int = 0o022, **variables: str) -> Built:
    """Run ``make dist``; make takes the environment of the tests for up to date."""
    ready = f"{sys.prefix}/.ready"
    _run(
        *(*prefix, "make", "-o", ready, f"VENV={sys.prefix}", "dist", f"DIST={directory}"),
        cwd=source,
        umask=umask,
        **variables,
    )
    return Built.in_directory(directory)


def wheel_without_sdist(source: Path, directory: Path, python: str) -> Path:
    """Build a wheel straight from the tree, by another front end and interpreter."""
    uv = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--build-constraints", CONSTRAINTS]
    _run(*uv, "--python", python, "--out-dir", str(directory), cwd=source, UV_PYTHON_DOWNLOADS="never")
    (wheel,) = directory.glob("*.whl")
    return wheel


def _run(*command: str, cwd: Path = ROOT, umask: int = 0o022, **variables: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        umask=umask,
        env={**os.environ, **variables},
        text=True,
        capture_output=True,
        timeout=8 * LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
