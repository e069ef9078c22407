"""A copy of the package that a test may change under a running master, as an upgrade of the package does.

    installation = Installation(tmp_path)
    with installation.serving("-b", TCP) as master:
        installation.become("0.2.0")
        master.signal(signal.SIGUSR2)

The master runs in its directory, so that this copy is what is installed. It must not know what upgrading is.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.end_to_end.harness import ROOT, STREAM, Master

AT_THE_HEAD = "__init__.py"


class Installation:
    """:param directory: the package is copied there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # with what is compiled already, which the copied times of the files keep valid
        shutil.copytree(ROOT / "prefork", directory / "prefork")

    def become(self, version: str, *statements: str) -> Self:
        """Install a version; ``statements`` stand at the end of the package's first file."""
        source = (ROOT / "prefork" / AT_THE_HEAD).read_text()
        lines = [f"__version__ = {version!r}" if ln.startswith("__version__ =") else ln for ln in source.splitlines()]
        (self.directory / "prefork" / AT_THE_HEAD).write_text("\n".join([*lines, *statements, ""]))
        return self

    def change(self, file: str, old: str, new: str) -> Self:
        """Edit a file of the package as it is in the source."""
        source = (ROOT / "prefork" / file).read_text()
        assert old in source
        (self.directory / "prefork" / file).write_text(source.replace(old, new))
        return self

    @contextlib.contextmanager
    def serving(self, *arguments: str, target: str = STREAM, pass_fds: tuple[int, ...] = ()) -> Iterator[Master]:
        """A master of this installation whose first generation serves."""
        with Master(target, *arguments, cwd=self.directory, pass_fds=pass_fds) as master:
            master.wait_serving()
            yield master
