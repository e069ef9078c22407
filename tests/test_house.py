"""The house: imports go downwards only, the mind is pure, and workers pay for nothing they do not use."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "prefork"

# top to bottom; names in one row are siblings that never meet
FLOORS = (
    {"__main__"},
    {"cli"},
    {"admin", "doctor", "init", "lab", "top"},
    {"socketserver"},
    {"preforking"},
    {"control/client"},
    {"master"},
    {"control/server"},
    {"report"},
    {"control/report"},
    {"rehearsal"},
    {"worker"},
    {"pool", "servers"},
    {"config"},
    {"control/brief"},
    {"system"},
    {"control/messages"},
    {"errors"},
    {"binds"},
    {"address", "histogram"},
    {"__init__"},
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
FRONT = {"__init__.py", "socketserver.py"}  # at the head of the package: their Preforking… names arrive on first use
NOT_IN_WORKERS = ("prefork.master", "prefork.pool", "prefork.config", "prefork.control")
KERNEL = {"os", "socket", "signal", "time", "threading", "logging", "select", "subprocess", "random"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def floor_of(path: Path) -> str:
    """The file or folder of the package it is in; of ``control`` each file has a floor of its own."""
    parts = path.relative_to(PACKAGE).parts
    if parts[0] == "control":
        return "control/messages" if path.name == "__init__.py" else f"control/{path.stem}"
    return parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    """The floors whose modules the file imports."""
    names = [name.split(".") for name in imported(path) if name.startswith("prefork.")]
    floors = {"/".join(parts[1:3]) if parts[1] == "control" else parts[1] for parts in names}
    return {name for name in floors if name in FLOOR}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downwards(path: Path) -> None:
    """No arrow points up, and siblings never meet."""
    here = floor_of(path)
    lazily = {"preforking", "errors"} if str(path.relative_to(PACKAGE)) in FRONT else set()
    for there in ours(path) - {here} - lazily:
        assert FLOOR[there] > FLOOR[here], f"{path.name} on floor {here!r} imports {there!r}"


def test_only_the_front_names_the_preforking_servers() -> None:
    """Whoever needs them gets them by the two public modules; nothing of ours stands on them."""
    naming = {str(path.relative_to(PACKAGE)) for path in modules() if "preforking" in ours(path)}
    assert naming - {"preforking.py"} == FRONT


@pytest.mark.parametrize("path", sorted((PACKAGE / "pool").glob("*.py")), ids=lambda p: p.name)
def test_the_mind_is_free_of_the_kernel(path: Path) -> None:
    """The pool imports nothing that could wait, ask or change anything outside."""
    assert not {name.split(".")[0] for name in imported(path)} & KERNEL
    assert ours(path) <= {"pool"}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_says_what_it_is(path: Path) -> None:
    """A module begins with what it is for."""
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_a_worker_does_not_pay_for_the_master() -> None:
    """Neither the command line nor typed settings nor the mind nor the master are in the memory of a mold."""
    code = "import json, sys, prefork.worker.mold; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.check_output([sys.executable, "-c", code])))
    unwanted = {"click", "msgspec", "tomllib", "subprocess", "asyncio", "dataclasses", "inspect", "psutil", "urllib"}
    assert not loaded & unwanted
    assert not {name for name in loaded if name.startswith(NOT_IN_WORKERS)}


def test_of_all_commands_only_run_brings_the_master() -> None:
    """Who asks what would run, or what runs, does not wait for its code."""
    code = (
        "import json, sys; from prefork.cli import COMMANDS, cli\n"
        "found = [cli.get_command(None, name) for name in COMMANDS if name != 'run']\n"
        "print(json.dumps([all(found), [name for name in sys.modules if name.startswith('prefork.master')]]))"
    )
    assert json.loads(subprocess.check_output([sys.executable, "-c", code])) == [True, []]


@pytest.mark.parametrize("front", ["prefork", "prefork.socketserver"])
def test_the_front_brings_the_master_only_when_asked(front: str) -> None:
    """Who uses the framework alone pays for no master; ``dir`` names what would come."""
    code = (
        f"import json, sys, {front} as front; before = [n for n in sys.modules if n.startswith('prefork.master')]\n"
        "names = [n for n in dir(front) if n == 'serve' or n.startswith('Preforking')]\n"
        "found = [callable(getattr(front, n)) for n in names]\n"
        "print(json.dumps([before, all(found), len(found), 'prefork.master.loop' in sys.modules]))"
    )
    before, all_found, count, has_come = json.loads(subprocess.check_output([sys.executable, "-c", code]))
    assert (before, all_found, has_come) == ([], True, True)
    assert count == (1 if front == "prefork" else 5)


def test_what_interrupts_a_handler_has_one_class() -> None:
    """Both fronts name it, and it is none that ``except Exception`` takes."""
    from prefork import RequestTimeout, socketserver

    assert RequestTimeout is socketserver.RequestTimeout
    assert not issubclass(RequestTimeout, Exception)
