"""Where settings come from: a file or the command line, whole or not at all; one promise a test."""

from pathlib import Path

import pytest

from prefork.config.instance import Instance
from prefork.config.service import Service
from prefork.config.sources import from_command_line, read_file
from prefork.errors import UsageError
from tests.children import descriptors

SERVICE = '[service.echo]\ntarget = "app:Echo"\nbind = ["unix:/nowhere/x.sock"]\n'
ECHO = Service(target="app:Echo", bind=("unix:/nowhere/x.sock",))


def write(directory: Path, text: str | bytes) -> str:
    path = directory / "prefork.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def refusal(path: str) -> str:
    before = descriptors()
    with pytest.raises(UsageError) as raised:
        read_file(path)
    line = str(raised.value)
    assert len(line.splitlines()) == 1
    assert not descriptors() - before
    return line


# A file


def test_a_file_describes_an_instance(tmp_path: Path) -> None:
    """Its tables are services, its other keys belong to the instance."""
    path = write(tmp_path, 'name = "shop"\nlog_level = "debug"\n' + SERVICE + 'workers = 8\nrequest_hard = "90s"\n')

    assert read_file(path) == Instance(
        name="shop",
        is_named=True,
        log_level="debug",
        service={"echo": Service(target="app:Echo", bind=ECHO.bind, workers=8, request_hard=90.0)},  # type: ignore[arg-type]
    )


def test_without_a_name_the_directory_names_the_instance(tmp_path: Path) -> None:
    """Such a name is not exclusive."""
    directory = tmp_path / "shop"
    directory.mkdir()

    instance = read_file(write(directory, SERVICE))

    assert (instance.name, instance.is_named) == ("shop", False)


def test_a_directory_of_any_name_gives_a_name(tmp_path: Path) -> None:
    """Who wrote no name cannot have written a wrong one."""
    directory = tmp_path / "my shop (old)"
    directory.mkdir()

    assert read_file(write(directory, SERVICE)).service == {"echo": ECHO}


def test_an_empty_name_is_no_name(tmp_path: Path) -> None:
    """It is derived then, and not exclusive."""
    instance = read_file(write(tmp_path, 'name = ""\n' + SERVICE))

    assert (instance.name, instance.is_named) == (tmp_path.name, False)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", ["service", "[service.NAME]"]),
        ("service = 3", ["service", "[service.NAME]"]),
        ("[service]\ntarget = 'app:Echo'", ["service", "[service.NAME]"]),
        ("[service.echo]\n", ["[service.echo]: target", "myapp.handlers:Echo"]),
        (SERVICE + "workers = 'many'", ["[service.echo]: workers", "'many'", "whole number"]),
        (SERVICE + "wrokers = 3", ["[service.echo]: there is no setting", "wrokers", "perhaps workers"]),
        ("log_levle = 'info'\n" + SERVICE, ["there is no setting", "log_levle", "perhaps log_level"]),
        ("name = 'my shop'\n" + SERVICE, ["name", "'my shop'", "letters, digits"]),
        ("name = 3\n" + SERVICE, ["name", "3", "text"]),
        ("workers =", ["is not TOML"]),
        (b"name = '\xff'\n", ["is not TOML"]),
    ],
    ids=repr,
)
def test_a_wrong_file_is_one_line_that_names_it(tmp_path: Path, text: str | bytes, pieces: list[str]) -> None:
    """The path, then the table, the setting, its value and the remedy; nothing has been opened."""
    path = write(tmp_path, text)

    line = refusal(path)

    assert line.startswith(path)
    assert all(piece in line for piece in pieces), line


def test_a_file_without_an_end_is_one_line_too(tmp_path: Path) -> None:
    """Nor is anything else asked of the memory than what settings could need."""
    assert refusal("/dev/zero") == "/dev/zero is not TOML: it has more than 1048576 bytes"
    deep = write(tmp_path, "workers = " + "[" * 5000)
    assert refusal(deep).startswith(f"{deep} is not TOML: maximum recursion depth exceeded")


def test_a_file_that_cannot_be_read_is_one_line_that_names_it(tmp_path: Path) -> None:
    """With the system's reason and the flag that gives another."""
    for path in (str(tmp_path / "missing.toml"), str(tmp_path)):
        line = refusal(path)
        assert path in line
        assert "-c" in line


# The command line


@pytest.mark.parametrize(("target", "label"), [("app:Echo", "app"), ("my.shop:Echo", "shop"), ("a.b.c:D.E", "c")])
def test_a_target_names_its_service_and_the_instance(target: str, label: str) -> None:
    """By the last part of its module; such a name is not exclusive."""
    instance = from_command_line(target, {"bind": ["tcp://127.0.0.1:0"]}, {})

    assert (list(instance.service), instance.name, instance.is_named) == ([label], label, False)


def test_a_name_that_was_given_is_exclusive() -> None:
    """It names the instance; the service keeps the target's."""
    instance = from_command_line("app:Echo", {"bind": ["tcp://127.0.0.1:0"]}, {"name": "shop"})

    assert (list(instance.service), instance.name, instance.is_named) == (["app"], "shop", True)


@pytest.mark.parametrize(
    ("target", "service", "instance", "pieces"),
    [
        ("app", {"bind": ["tcp://127.0.0.1:0"]}, {}, ["target", "'app'", "MODULE:NAME"]),
        ("", {"bind": ["tcp://127.0.0.1:0"]}, {}, ["target", "''", "MODULE:NAME"]),
        ("app:Echo", {}, {}, ["bind", "tcp://127.0.0.1:9000"]),
        ("app:Echo", {"bind": ["9000"]}, {}, ["bind", "'9000'", "begin with tcp:"]),
        ("app:Echo", {"bind": ["udp://:9"], "workers": "many"}, {}, ["workers", "'many'", "whole number"]),
        ("app:Echo", {"bind": ["udp://:9"]}, {"name": "my shop"}, ["name", "'my shop'", "letters, digits"]),
        ("app:Echo", {"bind": ["udp://:9"]}, {"log_level": "loud"}, ["log_level", "'loud'", "warning"]),
    ],
)
def test_a_wrong_flag_is_one_line_that_names_it(
    target: str, service: dict[str, object], instance: dict[str, object], pieces: list[str]
) -> None:
    """The same errors as those of a file, and nothing has been opened."""
    before = descriptors()
    with pytest.raises(UsageError) as raised:
        from_command_line(target, service, instance)
    line = str(raised.value)

    assert line.startswith("command line: ")
    assert len(line.splitlines()) == 1
    assert all(piece in line for piece in pieces), line
    assert not descriptors() - before


def test_what_we_set_ourselves_nobody_else_can(tmp_path: Path) -> None:
    """Whether a name is exclusive follows from its being given, and is no setting."""
    assert "there is no setting is_named" in refusal(write(tmp_path, "is_named = true\n" + SERVICE))
