"""The manual: ``prefork(1)``, a page for each command, and ``prefork.toml(5)``.

What a command does and which flags it has is taken from its own help; what prefork is from the README; signals, exit
codes and settings from docs/; and what is told nowhere else from ``prefork.1.md`` beside this file. No library does it:
click-man, the one that is kept, finds no command of a group that imports them when they are used, and escapes too
little for our examples. It must not know how a page is laid out.
Read next: ``roff.py``, ``pages.py``.
"""

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click
from markdown_it.tree import SyntaxTreeNode

from deploy.packaging import pages
from deploy.packaging.roff import Page, bold, italic, plain
from prefork import __version__
from prefork.cli import cli

PACKAGE = f"prefork {__version__}"
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCS = ROOT / "docs"


def manual() -> dict[str, str]:
    """The text of each page by the name of its file."""
    context = click.Context(cli, info_name="prefork", **cli.context_settings)
    texts = {"prefork.1": str(_overview(context)), "prefork.toml.5": str(_settings())}
    for name, command in _commands(context):
        texts[f"prefork-{name}.1"] = str(_command(click.Context(command, info_name=name, parent=context)))
    return texts


def _commands(context: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command


def _overview(context: click.Context) -> Page:
    page = _opened(context)
    page.paragraph(pages.inline(pages.read(ROOT / "README.md")[0]))
    page.section("commands")
    for name, command in _commands(context):
        page.item(f"{bold(f'prefork-{name}')}(1)", plain(_in_short(command)))
    _write_options(context, page)
    for title, file in (("signals", "signals.md"), ("exit status", "exit-codes.md")):
        page.section(title)
        pages.write(pages.read(DOCS / file), page, is_whole=False)
    pages.write(pages.read(HERE / "prefork.1.md"), page, is_whole=True)
    _write_references(page, *(f"prefork-{name}(1)" for name, _ in _commands(context)), "prefork.toml(5)")
    return page


def _command(context: click.Context) -> Page:
    page = _opened(context)
    _write_help(context.command, page)
    _write_options(context, page)
    if tables := list(_exit_codes(context.info_name or "")):
        page.section("exit status")
        for table in tables:
            pages.write_table(table, page)
    _write_references(page, "prefork(1)", "prefork.toml(5)")
    return page


def _settings() -> Page:
    page = Page("prefork.toml", 5, PACKAGE)
    page.section("name")
    page.text(plain("prefork.toml - what prefork serves, and how"))
    page.section("description")
    pages.write(pages.read(DOCS / "configuration.md"), page, is_whole=True)
    _write_references(page, "prefork(1)", "prefork-run(1)", "prefork-check(1)")
    return page


def _opened(context: click.Context) -> Page:
    """A command's page up to what it does."""
    command = context.command
    page = Page(context.command_path.replace(" ", "-"), 1, PACKAGE)
    page.section("name")
    page.text(plain(f"{context.command_path.replace(' ', '-')} - {_in_short(command)}"))
    page.section("synopsis")
    page.text(f"{bold(context.command_path)} {plain(' '.join(command.collect_usage_pieces(context)))}")
    page.section("description")
    return page


def _write_help(command: click.Command, page: Page) -> None:
    for text in cleandoc(command.help or "").split("\n\n"):
        first, *lines = text.splitlines()
        if first == "\b":  # so click is told to keep the lines as they are
            page.example(lines)
        else:
            parts = text.split("``")  # every other of them is code
            page.paragraph("".join(bold(part) if n % 2 else plain(part) for n, part in enumerate(parts)))


def _write_options(context: click.Context, page: Page) -> None:
    page.section("options")
    for parameter in context.command.get_params(context):
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)):
            names, text = record
            page.item(" ".join(map(_word_of_flag, names.split())), plain(text))


def _word_of_flag(word: str) -> str:
    """Of ``-c, --config FILE`` or ``--preload / --no-preload``."""
    if word.startswith("-"):
        return bold(word.rstrip(",")) + "," * word.endswith(",")
    return word if word == "/" else italic(word)


def _exit_codes(command: str) -> Iterator[SyntaxTreeNode]:
    """The table of a command's exit codes: the text before each names its commands, and the first is the master's."""
    named = {"run"}
    for block in pages.read(DOCS / "exit-codes.md"):
        if block.type == "paragraph":
            named = {code.removeprefix("prefork ") for code in pages.codes(block)}
        elif block.type == "table" and command in named:
            yield block


def _in_short(command: click.Command) -> str:
    text = command.get_short_help_str(limit=1000).replace("``", "").removesuffix(".")
    return text[:1].lower() + text[1:]


def _write_references(page: Page, *others: str) -> None:
    page.section("see also")
    names = (re.sub(r"(.+)(\(\d\))", lambda m: bold(m[1]) + m[2], other) for other in others)
    page.text(",\n".join(names))
    page.paragraph(plain("What is named docs/ comes with the source."))
