"""What machines stand on: root directories of two Debians, and prefork installed for the Python of each.

    root = bookworm() or trixie()
    with Machine(root.path, layers=[installation(root, directory)]) as machine: ...

What takes long to make, a Debian and the packages prefork needs, is made once and kept in the user's cache directory,
under a name that changes with its recipe; the code itself is copied anew each time.
It must not know what is done with a root. Invariants: the host's own root is never written to; nothing in the cache is
half made, for it is made under another name and renamed; of several processes one makes it and the others wait.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.end_to_end.harness import ROOT

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prefork-tests"
HOME = "/opt/prefork"  # where prefork is installed in a machine
LIMIT = 600.0  # seconds; a mirror far away, on a busy machine

_PACKAGES = "systemd,systemd-sysv,python3"
_SCRIPT = f"""#!{HOME}/bin/python
import sys
from prefork.cli import main
sys.exit(main())
"""


class Root(NamedTuple):
    """:param python: the version of its /usr/bin/python3, as ``3.13``."""

    path: Path
    python: str


def host() -> Root:
    """The root that the tests run in; a machine sees it through an overlay."""
    return _root(Path("/"))


def trixie() -> Root:
    """A Debian whose systemd is 257, from the host's mirror of Debian."""
    recipe = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}", "trixie"]
    return _root(_kept("trixie", " ".join(recipe), lambda path: _run(*recipe, str(path))))


def _root(path: Path) -> Root:
    (library,) = [p for p in (path / "usr/lib").glob("python3.*") if (p / "os.py").exists()]
    return Root(path, library.name.removeprefix("python"))


def installation(root: Root, directory: Path) -> list[Path]:
    """Layers for a machine of this root, with a virtual environment in which ``prefork`` is: the code, and its needs.

    The environment is made by hand, for its interpreter may need another C library than ours.
    """
    home = directory / HOME.lstrip("/")
    site = home / "lib" / f"python{root.python}" / "site-packages"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").symlink_to("/usr/bin/python3")
    (home / "bin" / "prefork").write_text(_SCRIPT)
    (home / "bin" / "prefork").chmod(0o755)
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    shutil.copytree(ROOT / "prefork", site / "prefork", ignore=shutil.ignore_patterns("__pycache__"))
    return [directory, _needs(root)]


def _needs(root: Root) -> Path:
    """What prefork imports, as wheels for the Python of the root."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["metrics"]]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    recipe = [*pip, "--no-compile", "--only-binary=:all:", f"--python-version={root.python}", *wanted]
    below = f"{HOME}/lib/python{root.python}/site-packages".lstrip("/")
    return _kept(f"needs-{root.python}", " ".join(recipe), lambda path: _run(*recipe, "--target", str(path / below)))


def _kept(name: str, recipe: str, make: Callable[[Path], None]) -> Path:
    """The directory that ``make`` fills, made now if it never was by this recipe."""
    path = CACHE / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with _lock(name):
        if not path.exists():
            with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=CACHE, ignore_cleanup_errors=True) as making:
                make(Path(making) / "new")
                (Path(making) / "new").rename(path)
    return path


@contextlib.contextmanager
def _lock(name: str) -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(*command: str) -> None:
    """Run it to its end; where that does not come, end it by TERM, for then it cleans up behind itself."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            printed, _ = process.communicate(timeout=LIMIT)
        except BaseException:
            process.terminate()
            raise
    assert process.returncode == 0, f"{' '.join(command)}\n{printed}"
