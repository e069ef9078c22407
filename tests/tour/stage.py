"""Where the commands of the tour run: a directory with the example in it, and a network with nobody else.

It must not know what the page says. Whoever starts something in the background waits until it has come so far as a
reader would have seen it.
Invariant: nothing that a command started outlives the stage.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prefork.control.client import ask_status, connect, find
from prefork.errors import PreforkError
from tests.end_to_end.clients import LIMIT
from tests.end_to_end.harness import ROOT, look_until
from tests.tour.transcript import Step

COLUMNS = 100


class Stage:
    """:param directory: empty; it becomes the reader's working directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._background: list[subprocess.Popen[str]] = []
        shutil.copy(ROOT / "examples" / "orders.py", directory / "shop.py")
        program = directory / ".bin" / "prefork"
        program.parent.mkdir()
        program.write_text(f"#!{sys.executable}\nfrom prefork.cli import main\nmain()\n")
        program.chmod(0o755)
        path = f"{program.parent}:{os.environ['PATH']}"
        home = {"HOME": str(directory), "COLUMNS": str(COLUMNS), "LC_ALL": "C.UTF-8"}
        self._environment = {**home, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._background:
            process.terminate()
            process.wait(LIMIT)

    def run(self, command: str) -> Step:
        """The command, with the slot that is busy now in it, and what it prints."""
        command = _as_of_now(command)
        argv = ["bash", "-c", command.removesuffix("&")]
        if command.endswith("&"):
            self._start(argv)
            return Step(command, "")
        done = subprocess.run(
            argv,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            text=True,
        )
        return Step(command, done.stdout.replace(str(self._directory), "/srv/shop"))

    def _start(self, argv: list[str]) -> None:
        busy = len(_busy_slots())
        argv[-1] = f"exec {argv[-1]}"
        process = subprocess.Popen(
            argv,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._background.append(process)
        is_master = "prefork run" in argv[-1]
        arrived: Callable[[], bool] = _is_serving if is_master else lambda: len(_busy_slots()) > busy
        look_until(arrived, f"{argv[-1]!r} is under way")


def _as_of_now(command: str) -> str:
    """Which slot serves the stuck request differs from one time to the next."""
    words = command.split()
    if words[:2] in (["prefork", "dump"], ["prefork", "recycle"]):
        (busy,) = _busy_slots()
        return " ".join(str(busy) if word.isdigit() else word for word in words)
    return command


def _services() -> list[dict[str, Any]]:
    try:
        with connect(find()) as connection:
            services: list[dict[str, Any]] = ask_status(connection).as_plain()["services"]
            return services
    except PreforkError:
        return []


def _is_serving() -> bool:
    services = _services()
    return bool(services) and all(service["phase"] == "healthy" for service in services)


def _busy_slots() -> list[int]:
    return [worker["slot"] for service in _services() for worker in service["workers"] if worker["current"]]
