"""What comes of installing it, as the page on installing says: a service that runs, manual pages, completion."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prefork import __version__
from prefork.cli import COMMANDS
from tests.deploy.building import copy_source, make_dist, needs, wheel_without_sdist
from tests.deploy.installers import Installer, examples, interpreter
from tests.deploy.test_packaging import COMPLETIONS, PAGES
from tests.end_to_end.clients import LIMIT
from tests.end_to_end.harness import ROOT, TCP, Master
from tests.end_to_end.http import fetch
from tests.end_to_end.test_completion import typing

pytestmark = [pytest.mark.deployed, pytest.mark.timeout(600)]  # installers are slow where they fetch
NEXT = "0.1.1.dev1"
LINK, UNLINK = examples("Manual pages and completion")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dist(ROOT, tmp_path_factory.mktemp("dist")).wheel


@pytest.fixture(scope="module")
def next_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a later version."""
    source = copy_source(tmp_path_factory.mktemp("next"))
    head = source / "prefork" / "__init__.py"
    head.write_text(head.read_text().replace(__version__, NEXT))
    return wheel_without_sdist(source, source / "dist", sys.executable)


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installer:
    """Installed without extras."""
    installer = Installer("With uv", ".local/bin", tmp_path_factory.mktemp("alone"), sys.executable)
    installer.type(f"uv tool install --quiet '{wheel}'")
    return installer


@pytest.fixture(scope="module")
def prefix(alone: Installer) -> Path:
    """The environment it is installed in, found as the page finds it."""
    where, _, _ = LINK.partition("\n")
    return Path(alone.type(f"{where}\necho $prefix").strip())


@pytest.fixture(scope="module")
def linked(alone: Installer) -> Installer:
    """What is in ``share/`` is linked to where shells and ``man`` look for it."""
    alone.type(LINK)
    return alone


@pytest.mark.parametrize(
    ("section", "place", "version"),
    [
        ("For a service", "opt/prefork/bin", "3.11"),
        ("With pipx", ".local/bin", "3.12"),
        ("With uv", ".local/bin", "3.13"),
    ],
)
def test_a_service_runs_by_what_was_installed(
    section: str, place: str, version: str, wheel: Path, next_wheel: Path, tmp_path: Path
) -> None:
    """As the page says: it serves, with metrics; a newer version is installed over it, and becomes it; it is gone."""
    if section == "With pipx":
        needs("pipx")
    home = tmp_path / "home"
    installer = Installer(section, place, home, interpreter(version))
    installer.install(wheel, "metrics")
    assert installer.type("prefork --version") == f"prefork {__version__}\n"
    shutil.copy(ROOT / "examples" / "orders.py", home / "shop.py")
    name = f"installed-{os.getpid()}"
    flags = ["-n", name, "-b", TCP, "-w", "2", "--admin", TCP]
    with Master("shop:Handler", *flags, command=[installer.prefork], cwd=home, pythonpath=home) as master:
        master.wait_serving()
        admin = master.bind(service="admin")
        assert fetch(master.bind(service="shop"), "/orders/7").json() == {"order": "7", "state": "sent"}
        assert fetch(admin, "/metrics").status == 200

        pid = master.pid
        answer = installer.upgrade(next_wheel, "metrics", name)
        assert f"version {NEXT} goes on from version {__version__}" in answer
        assert fetch(master.bind(service="shop"), "/orders/8").json() == {"order": "8", "state": "sent"}
        status = installer.type(f"prefork status -n {name} --json")
        assert f'"package": "{NEXT}"' in status
        assert f'"pid": {pid}' in status

        assert installer.type(f"prefork stop -n {name}") == "stopped, exit 0\n"
        master.expect_exit(0)
    installer.uninstall()
    assert not os.path.lexists(installer.prefork)


def test_it_is_a_module_as_well(alone: Installer, prefix: Path) -> None:
    """Also for who isolates the interpreter from its surroundings."""
    python = prefix / "bin" / "python"
    assert alone.type(f"{python} -m prefork --version") == f"prefork {__version__}\n"
    assert alone.type(f"{python} -I -m prefork --version") == f"prefork {__version__}\n"


def test_it_brings_its_types(prefix: Path, tmp_path: Path) -> None:
    """A checker of somebody's code reads them."""
    python = prefix / "bin" / "python"
    wrong = "import prefork; number: int = prefork.__version__"
    checker = [sys.executable, "-m", "mypy", "--python-executable", str(python), "--cache-dir", os.devnull, "-c", wrong]
    done = subprocess.run(checker, cwd=tmp_path, text=True, capture_output=True, timeout=4 * LIMIT)
    assert 'expression has type "str", variable has type "int"' in done.stdout
    assert "Found 1 error" in done.stdout


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        (["top"], "prefork[top]"),
        (["load", "tcp://127.0.0.1:9000"], "prefork[lab]"),
        (["compare", "echo"], "prefork[lab]"),
        (["tune", "echo"], "prefork[lab]"),
        (["tune", "--live"], "prefork[lab]"),
        (["plan", "--service-mean", "20ms", "--rate", "100", "--p99", "1s"], "prefork[lab]"),
    ],
)
def test_a_command_without_its_packages_says_which(command: list[str], remedy: str, alone: Installer) -> None:
    """In one line, with what to type; its help is there nevertheless."""
    line = [alone.prefork, *command]
    done = subprocess.run(line, env=alone.environment, text=True, capture_output=True, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.endswith(f"; try: pip install '{remedy}'\n")
    assert alone.type(f"prefork {command[0]} --help").startswith(f"Usage: prefork {command[0]} ")


def test_metrics_without_their_package_say_which(alone: Installer) -> None:
    """All else of the admin process is there."""
    shutil.copy(ROOT / "examples" / "orders.py", alone.home / "shop.py")
    flags = ["-n", f"alone-{os.getpid()}", "-b", TCP, "--admin", TCP]
    with Master("shop:Handler", *flags, command=[alone.prefork], cwd=alone.home, pythonpath=alone.home) as master:
        master.wait_serving()
        admin = master.bind(service="admin")
        reply = fetch(admin, "/metrics")
        assert reply.status == 501
        assert "install prefork[metrics]" in reply.text
        assert fetch(admin, "/healthz").status == 200


def test_readers_of_manual_pages_have_nothing_to_say_against_them(alone: Installer, prefix: Path) -> None:
    """Neither groff nor mandoc, but that the pages have no date."""
    needs("mandoc")
    needs("man")
    for page in sorted(prefix.glob("share/man/man*/*")):
        lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], text=True, capture_output=True)
        assert lint.stdout.count("\n") == 1, lint.stdout
        assert "missing date" in lint.stdout
        read = ["man", "--warnings", "-E", "UTF-8", "-l", str(page)]
        done = subprocess.run(read, text=True, capture_output=True, env=alone.environment | {"MANWIDTH": "80"})
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("reader", ["man -l", "mandoc -T utf8"])
def test_what_is_read_can_be_copied(reader: str, alone: Installer, prefix: Path) -> None:
    """Quotes, minus signs and backslashes come out of a page as the help has them, and no name is cut."""
    needs(reader.split()[0])
    page = prefix / "share/man/man1/prefork-compare.1"
    shown = alone.type(f"MANWIDTH=100 {reader} {page} | col -b")
    example = r"prefork compare shop:Handler --send 'hello\n' --reply line --html shop.html -- --threads 8"
    assert example in alone.type("prefork compare --help")
    assert example in shown
    overview = alone.type(f"MANWIDTH=60 {reader} {page.with_name('prefork.1')} | col -b")
    _, _, references = overview.partition("SEE ALSO")
    for name in COMMANDS:
        assert f"prefork-{name}(1)" in references


def test_man_finds_the_pages(linked: Installer) -> None:
    """By the names of the commands, and of the file."""
    needs("man")
    found = linked.type("man -w prefork prefork-run prefork.toml").split()
    assert [Path(path).name for path in found] == ["prefork.1", "prefork-run.1", "prefork.toml.5"]
    assert linked.type("man prefork-stop | col -b").startswith("PREFORK-STOP(1)")


def test_fish_finds_the_completion(linked: Installer) -> None:
    """And bash and zsh, below."""
    needs("fish")
    assert linked.type("fish -c \"complete -C 'prefork sta'\"").split()[0] == "status"


@pytest.mark.parametrize(
    ("shell", "start"),
    [
        ("bash --norc -i", ". /usr/share/bash-completion/bash_completion"),
        ("zsh -f -i", "fpath+=(~/.local/share/zsh/site-functions); bindkey -e; autoload -U compinit; compinit -u -D"),
    ],
    ids=["bash", "zsh"],
)
def test_a_shell_finds_the_completion(shell: str, start: str, linked: Installer) -> None:
    """A line that is typed, up to the key that completes it."""
    command = shell.split()
    needs(command[0])
    if command[0] == "bash" and not os.path.exists("/usr/share/bash-completion/bash_completion"):
        pytest.skip("bash-completion is not installed")
    with typing(command, linked.environment) as terminal:
        terminal.type(f"{start}; PS1='rea''dy> '\n")
        terminal.wait_for("ready> ")
        terminal.type("prefork sta\t\x01echo \n")  # once completed, it is printed in one piece
        terminal.wait_for("prefork status")


def test_what_was_linked_can_be_taken_away(linked: Installer) -> None:
    """By the page's last example."""
    where, _, _ = LINK.partition("\n")
    links = f'{where}\nfind ~/.local/share -lname "$prefix/*"'
    assert len(linked.type(links).splitlines()) == len(PAGES | COMPLETIONS)
    linked.type(f"{where}\n{UNLINK}")
    assert linked.type(links) == ""
