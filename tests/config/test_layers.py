"""Later sources win, and every value knows where it was written."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prefork.cli import cli
from prefork.config.sources import Place, read
from prefork.errors import TargetError, UsageError
from tests.children import descriptors

FILE = """\
log_level = "error"

[service.echo]
target = "app:Echo"
bind = ["unix:/nowhere/echo.sock"]
workers = 2
max_requests = 20

[service.shout]
target = "app:Shout"
bind = ["unix:/nowhere/shout.sock"]
workers = 2
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "prefork.toml").write_text(FILE)
    return str(tmp_path / "prefork.toml")


def test_later_sources_win(path: str) -> None:
    """Defaults, then the file, then variables for all, then those for one, then flags."""
    environ = {"PREFORK_WORKERS": "3", "PREFORK_SERVICE_SHOUT_WORKERS": "4", "PREFORK_LOG_LEVEL": "debug", "HOME": "/"}

    found = read(path, None, {"balance": "even"}, environ)

    echo, shout = found.instance.service["echo"], found.instance.service["shout"]
    assert (echo.workers, shout.workers) == (3, 4)
    assert (echo.balance, shout.balance) == ("even", "even")
    assert (echo.max_requests, shout.max_requests) == (20, 0)
    assert found.instance.log_level == "debug"
    assert read(path, None, {"workers": "5"}, environ).instance.service["shout"].workers == 5


def test_every_value_knows_its_place(path: str) -> None:
    """File and line, variable, or command line; a default has none."""
    origins = read(path, None, {"balance": "even"}, {"PREFORK_SERVICE_SHOUT_WORKERS": "4"}).origins

    assert origins[Place("echo", "workers")] == f"{path}:6: [service.echo]"
    assert origins[Place("shout", "workers")] == "environment PREFORK_SERVICE_SHOUT_WORKERS"
    assert origins[Place("echo", "balance")] == "command line"
    assert origins[Place(None, "log_level")] == f"{path}:1"
    assert Place("echo", "backlog") not in origins


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        (
            "PREFORK_WORKERS",
            "many",
            "environment PREFORK_WORKERS: workers: 'many' is not a whole number; write it as 4, or \"auto\"",
        ),
        ("PREFORK_WROKERS", "3", "environment PREFORK_WROKERS: there is no such setting; perhaps PREFORK_WORKERS"),
        (
            "PREFORK_SERVICE_EHCO_WORKERS",
            "3",
            "environment PREFORK_SERVICE_EHCO_WORKERS: there is no such setting; perhaps PREFORK_SERVICE_ECHO_WORKERS",
        ),
    ],
)
def test_a_wrong_variable_is_one_line_that_names_it(path: str, variable: str, value: str, line: str) -> None:
    """Its name, its value and what would be right."""
    with pytest.raises(UsageError) as raised:
        read(path, None, {}, {variable: value})
    assert str(raised.value) == line


def test_what_a_worker_is_told_is_not_read(path: str) -> None:
    """A master started by a worker of another does not take over its name."""
    environ = {"PREFORK_NAME": "outer", "PREFORK_SLOT": "1", "PREFORK_GENERATION": "2"}
    assert read(path, None, {}, environ) == read(path)


def test_lists_are_written_with_commas_where_there_is_only_text(path: str) -> None:
    """In variables and flags."""
    found = read(path, None, {}, {"PREFORK_SERVICE_ECHO_BIND": "unix:@a,unix:@b"})
    assert found.instance.service["echo"].bind == ("unix:@a", "unix:@b")


def test_a_target_reads_no_file_unless_one_is_given(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a target the file in the working directory is the default."""
    monkeypatch.chdir(Path(path).parent)
    flags = {"bind": ("unix:@x",)}
    assert list(read(None, "app:Other", flags).instance.service) == ["app"]
    assert list(read().instance.service) == ["echo", "shout"]


def test_check_prints_what_would_run_and_opens_nothing(path: str) -> None:
    """Each setting with its value and its place."""
    before = descriptors()

    result = CliRunner().invoke(cli, ["check", "-c", path, "--balance", "even"])

    assert result.exit_code == 0
    rows = [line.split(maxsplit=2) for line in result.output.splitlines()]
    assert ["workers", "2", f"{path}:6: [service.echo]"] in rows
    assert ["balance", "even", "command line"] in rows
    assert ["backlog", "2048", "default"] in [[*row[:1], "2048", *row[2:]] for row in rows]
    assert not descriptors() - before


def checked(directory: Path, application: str, *arguments: str) -> Result:
    """``prefork check --load`` of a module of that text."""
    (directory / "shop.py").write_text(application)
    bind = ("-b", "tcp://127.0.0.1:1")
    return CliRunner().invoke(cli, ["check", "--load", *arguments, *bind, "--pythonpath", str(directory)])


HANDLER = "import socketserver\nclass Handler(socketserver.BaseRequestHandler): pass\n"


def test_check_loads_the_application_in_a_child_if_asked(tmp_path: Path) -> None:
    """What passes would be loaded by ``run``; nothing of it is in our own process."""
    done = checked(tmp_path, HANDLER, "shop:Handler")

    assert done.exit_code == 0, done.output
    assert "service shop can be loaded" in done.output
    assert "shop" not in sys.modules


@pytest.mark.parametrize(
    ("application", "target", "words"),
    [
        (HANDLER, "shop:Servant", ["no 'Servant'", "shop:Servant"]),
        (HANDLER, "store:Handler", ["no module named 'store'", "pythonpath"]),
        ("import socketserver\nServer = socketserver.TCPServer", "shop:Server", ["--handler MODULE:CLASS"]),
        ("import os\nos._exit(9)", "shop:Handler", ["its process died"]),
    ],
)
def test_check_says_in_one_line_why_it_cannot_be_loaded(
    tmp_path: Path, application: str, target: str, words: list[str]
) -> None:
    """A user's mistake is no traceback."""
    done = checked(tmp_path, application, target)

    assert isinstance(done.exception, TargetError)
    assert done.exception.exit_code == 3
    assert all(word in str(done.exception) for word in words), done.exception


def test_an_error_of_the_application_is_told_from_its_first_line_on(tmp_path: Path) -> None:
    """The traceback begins where the application's code does."""
    done = checked(tmp_path, "def start(:\n    pass", "shop:Handler")

    assert isinstance(done.exception, TargetError)
    assert "SyntaxError" in done.output
    assert "prefork/worker" not in done.output
