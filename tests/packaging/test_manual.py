"""Manual pages say what the commands say of themselves, and what docs/ says of signals, exit codes and settings."""

from pathlib import Path

import click
import pytest

from deploy.packaging import pages
from deploy.packaging.manual import manual
from deploy.packaging.roff import Page, plain
from prefork.cli import COMMANDS, cli
from prefork.config.instance import Instance
from prefork.config.service import Service
from prefork.config.settings import setting_names


def ask_anew() -> None:
    """click keeps the help option of whoever asked a command first, and that may have been another test."""
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        command._help_option = None


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    ask_anew()
    return manual()


def test_there_is_a_page_for_each_command_and_for_the_file(texts: dict[str, str]) -> None:
    """And none besides."""
    assert set(texts) == {"prefork.1", "prefork.toml.5", *(f"prefork-{name}.1" for name in COMMANDS)}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_names_every_flag(name: str, texts: dict[str, str]) -> None:
    """Also those that every command has."""
    ask_anew()
    context = click.Context(cli, info_name="prefork", **cli.context_settings)
    command = cli.get_command(context, name)
    assert command is not None
    child = click.Context(command, info_name=name, parent=context)
    flags = {flag for p in command.get_params(child) for flag in [*p.opts, *p.secondary_opts] if flag.startswith("-")}
    assert {"-h", "--help"} <= flags
    for flag in flags:
        assert rf"\fB{plain(flag)}\fR" in texts[f"prefork-{name}.1"], flag
    assert plain(f"prefork-{name}") in texts["prefork.1"]


@pytest.mark.parametrize("setting", [*setting_names(Instance), *setting_names(Service)])
def test_the_page_of_the_file_names_every_setting(setting: str, texts: dict[str, str]) -> None:
    """As the table in docs/ does."""
    assert rf"\fB{setting}\fR" in texts["prefork.toml.5"]


def test_a_command_has_its_own_exit_codes(texts: dict[str, str]) -> None:
    """The master's are those of ``run``; who steers and who measures has others; ``prefork(1)`` has them all."""
    assert plain("an address could not be bound") in texts["prefork-run.1"]
    assert plain("no such instance") in texts["prefork-stop.1"]
    assert plain("no such instance") not in texts["prefork-load.1"]
    assert plain("nothing was answered") in texts["prefork-load.1"]
    for text in ("an address could not be bound", "no such instance", "nothing was answered"):
        assert plain(text) in texts["prefork.1"]


def test_pages_are_the_same_whatever_machine_makes_them(texts: dict[str, str]) -> None:
    """They are ASCII, and no line has a blank at its end, or the escapes of click."""
    for text in texts.values():
        assert text.isascii()
        assert not [line for line in text.splitlines() if line != line.rstrip() or "\b" in line]


def written(text: str, directory: Path) -> str:
    (directory / "page.md").write_text(text)
    page = Page("page", 7, "prefork")
    pages.write(pages.read(directory / "page.md"), page, is_whole=True)
    return "\n".join(str(page).splitlines()[3:])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Title\n\nOne `two`\nthree.", "One \\fBtwo\\fR\nthree."),
        ("## Part\n\nText.", '.SH "PART"\nText.'),
        (". a line\n", "\\&. a line"),
        ("```\n.TH 'a'\n```", ".RS 4\n.EX\n\\&.TH \\(aqa\\(aq\n.EE\n.RE"),
        ("- one\n- two", ".IP \\(bu 2\none\n.IP \\(bu 2\ntwo"),
        ("| a | b |\n|---|---|\n| `x` | y |", ".TP\n\\fBx\\fR\ny"),
        ("| a | default | b |\n|---|---|---|\n| x | | y |\n| z | 1 | y |", ".TP\nx\ny\n.TP\nz\ndefault: 1\n.br\ny"),
        ("see [dying](dying.md), [this](that.md)", "see docs/dying.md, this"),
        ("![picture](docs/x.png) … a\\b", " \\[u2026] a\\eb"),
    ],
)
def test_what_docs_say_becomes_part_of_a_page(text: str, expected: str, tmp_path: Path) -> None:
    """Headings, text, examples, lists and tables."""
    assert written(text, tmp_path).removeprefix(".PP\n") == expected


def test_what_a_manual_page_cannot_say_is_an_error(tmp_path: Path) -> None:
    """Rather than left out in silence."""
    with pytest.raises(ValueError, match="a manual page has no blockquote"):
        written("> quoted", tmp_path)
