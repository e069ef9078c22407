"""Every example of the pages is tried: settings are read, commands parsed, Python run; output is recorded elsewhere."""

import configparser
import getpass
import inspect
import json
import shlex
import shutil
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest

import prefork
from prefork.cli import COMMANDS
from prefork.config.instance import Instance
from prefork.config.service import Service
from prefork.config.settings import convert, setting_names
from prefork.socketserver import BaseRequestHandler, BaseServer, PreforkingMixIn, PreforkingTCPServer
from tests.site.commands import command_of, program
from tests.site.examples import Example, commands, examples, inline
from tests.site.shelves import ROOT

TRIED = {"sh", "console", "toml", "python", "json", "yaml", "ini"}
FOREIGN = {"perl"}  # what somebody comes from
SHOWN = {  # blocks that nobody copies, and what holds each
    "README.md": "processes as ps shows them: tests/end_to_end/test_serving.py",
    "docs/architecture.md": "the loop in words: prefork/master/loop.py",
    "docs/cli.md": "made from the commands: tests/site/test_made.py",
    "docs/containers.md": "a line of a log: tests/deploy/test_containers.py",
    "docs/dying.md": "lines of a log: tests/end_to_end/test_dying.py",
    "docs/load.md": "what a run printed: tests/lab/test_load_command.py",
    "docs/logs.md": "lines of logs, stacks: tests/end_to_end/test_logs.py; settings of logrotate",
    "docs/plan.md": "what its command prints: tests/lab/test_plan_command.py",
    "docs/reforking.md": "lines of an answer: tests/end_to_end/test_reforking.py",
    "docs/status.md": "a picture of the screen: tests/top",
    "docs/systemd.md": "a line of a log: tests/end_to_end/test_service_manager.py",
    "docs/tune.md": "what its command prints: tests/lab/test_advice.py",
}
RUN_ELSEWHERE = {  # Python, by its first line
    '"""before: a thread for each client, in one process"""': "tests/end_to_end/test_examples.py",
    '"""after: a client at a time in each of four processes"""': "tests/end_to_end/test_examples.py",
    "def login(number):": "tests/lab/test_load_command.py",
}
STAND_INS = {  # what a reader has, and this machine need not
    "www": getpass.getuser(),
    "systemctl start shop-front": "true",
    "/usr/local/bin/tell-the-team": shutil.which("true"),
}


@pytest.mark.parametrize("example", examples(), ids=str)
def test_each_block_says_what_it_is(example: Example) -> None:
    """And whoever adds a language, or a block to be looked at only, says what tries it."""
    assert example.language in TRIED | FOREIGN or (example.language == "text" and example.page in SHOWN)


def test_what_is_shown_has_blocks() -> None:
    """A reason whose block is gone would hide the next one."""
    assert SHOWN.keys() == {example.page for example in examples("text")}


# settings


@pytest.mark.parametrize("example", examples("toml"), ids=str)
def test_settings_are_read(example: Example) -> None:
    """As ``prefork run`` reads them. What a block leaves out, for it shows something else, is added."""
    raw = with_stand_ins(tomllib.loads(example.text))
    of_service = {name: raw.pop(name) for name in setting_names(Service) if name in raw}
    services = raw.pop("service", {"a": of_service})
    whole = {name: {"target": "a:b", "bind": ["none"], **service} for name, service in services.items()}
    assert isinstance(convert({**raw, "service": whole}, Instance, str(example)), Instance)


def with_stand_ins(value: Any) -> Any:
    match value:
        case dict():
            return {name: with_stand_ins(part) for name, part in value.items()}
        case list():
            return [with_stand_ins(part) for part in value]
    return STAND_INS.get(value, value)


# commands


@pytest.mark.parametrize("example", examples("sh", "console"), ids=str)
def test_commands_are_understood(example: Example) -> None:
    """Every call of ``prefork`` has flags and arguments that the command takes."""
    for words in commands(example.text):
        parse(words)


@pytest.mark.parametrize("example", inline(), ids=str)
def test_commands_in_sentences_are_understood(example: Example) -> None:
    """They may be cut short, so it is their names and flags that are looked at."""
    for words in commands(example.text):
        if words and words[0].islower():
            assert words[0] in COMMANDS
            known = {flag for option in command_of(words[0]).params for flag in (*option.opts, *option.secondary_opts)}
            own = words[: words.index("--")] if "--" in words else words
            flags = {word.partition("=")[0] for word in own if word.startswith("--")}
            assert flags <= known | {"--help"}


def parse(words: list[str]) -> None:
    """:raises click.UsageError: the command would refuse them."""
    command_of(words[0]).make_context(words[0], list(words[1:]), parent=program())


# Python


@pytest.mark.parametrize("example", examples("python"), ids=str)
def test_python_runs(example: Example, unserved: None, tmp_path: Path) -> None:
    """With what the page has said before at hand; where it would serve, it has been built and goes on."""
    if example.text.partition("\n")[0] in RUN_ELSEWHERE:
        return
    around = types.ModuleType("example")
    around.__dict__.update(
        prefork=prefork,
        sys=sys,
        Handler=BaseRequestHandler,
        PreforkingMixIn=PreforkingMixIn,
        PreforkingTCPServer=PreforkingTCPServer,
    )
    exec("import http.server, wsgiref.simple_server", around.__dict__)
    text = example.text.replace("9000", "0").replace("sys.exit(", "(")
    exec(compile(text, str(example), "exec"), around.__dict__)


@pytest.fixture
def unserved(monkeypatch: pytest.MonkeyPatch) -> None:
    """What serves returns at once; ``serve`` looks whether it could be called so."""

    def look(*arguments: Any, **named: Any) -> int:
        inspect.signature(real).bind(*arguments, **named)
        return 0

    real = prefork.serve
    monkeypatch.setattr(prefork, "serve", look)
    for server in (BaseServer, PreforkingMixIn):
        monkeypatch.setattr(server, "serve_forever", lambda server, poll_interval=0.5: None)


# data


@pytest.mark.parametrize("example", examples("json", "yaml"), ids=str)
def test_data_is_well_formed(example: Example) -> None:
    """Each line of JSON, or a document of YAML."""
    yaml = pytest.importorskip("yaml", reason="mkdocs is not installed, which brings it")
    documents = (
        map(json.loads, example.text.splitlines()) if example.language == "json" else [yaml.safe_load(example.text)]
    )
    assert all(documents)


@pytest.mark.parametrize("example", examples("ini"), ids=str)
def test_units_and_programs_are_well_formed(example: Example) -> None:
    """And what they start of ours is understood."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(example.text)
    assert parser.sections()
    for section in parser.sections():
        for value in parser[section].values():
            if "bin/prefork " in value:
                parse(shlex.split(value.partition("bin/prefork ")[2]))


def test_what_is_said_to_try_an_example_is_there() -> None:
    """The files that the lists above name."""
    named = {reason.rpartition(": ")[2].partition(";")[0] for reason in SHOWN.values()} | {*RUN_ELSEWHERE.values()}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
