"""What comes of ``prefork compare``: a comparison printed, saved, read again, and made into pages.

It must not know how anything is measured. Invariant: a file is whole or is not there, also when we are killed; and what
cannot be written is said before hours are spent on it.
"""

import os
import sys
from collections.abc import Callable, Mapping

import click
import msgspec

from prefork.cli.lab_flags import STDOUT, refuse_unwritable
from prefork.errors import CommandError, UsageError
from prefork.lab.comparison import Comparison

WIDE = 160  # characters of what is no terminal
FLAGS = {"as_json": "--json", "as_csv": "--csv", "as_markdown": "--markdown", "as_html": "--html"}
Outputs = Mapping[str, str]  # paths by those names


def outputs_of(flags: Mapping[str, object], title: str = "") -> Outputs:
    """:param title: goes into the files' names, where several comparisons are written.
    :raises UsageError: a path cannot be written.
    """
    paths = {name: str(flags[name]) for name in FLAGS if flags[name]}
    if title:
        head = f"-{title.partition('=')[0]}"
        paths = {name: path if path == STDOUT else head.join(os.path.splitext(path)) for name, path in paths.items()}
    for name, path in paths.items():
        if path != STDOUT:
            refuse_unwritable(FLAGS[name], path)
            refuse_unwritable(FLAGS[name], _beside(path))
    return paths


def _beside(path: str) -> str:
    """Where it is written before it takes its place, whole."""
    return f"{path}.part"


def save(comparison: Comparison, outputs: Outputs) -> None:
    """So much as is known so far, where it was asked for as JSON into a file.

    :raises CommandError: it cannot be written.
    """
    if outputs.get("as_json", STDOUT) != STDOUT:
        _write("as_json", outputs["as_json"], _json(comparison))


def show(comparison: Comparison, outputs: Outputs) -> None:
    """Print the table, and write all files.

    What is asked for on standard output stands there in place of the table.

    :raises CommandError: a file cannot be written.
    """
    for name, path in outputs.items():
        text = _PRINTERS[name](comparison)
        if path == STDOUT:
            click.echo(text, nl=not text.endswith("\n"))
        else:
            _write(name, path, text)
    if STDOUT not in outputs.values():
        from rich.console import Console

        from prefork.lab.tables import terminal

        Console(width=None if sys.stdout.isatty() else WIDE).print(terminal(comparison))


def read_saved(path: str) -> Comparison:
    """What ``--json`` has written.

    :raises UsageError: there is none in the file.
    """
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=Comparison)
    except OSError as error:
        raise UsageError(f"--from: {path} cannot be read ({error.strerror}); give what --json has written") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"--from: {path} holds no comparison ({error}); give what --json has written") from None


def _write(name: str, path: str, text: str) -> None:
    try:
        with open(_beside(path), "w") as file:
            file.write(text)
        os.replace(_beside(path), path)
    except OSError as error:
        remedy = "give another path"
        raise CommandError(f"{FLAGS[name]}: {path} cannot be written ({error.strerror}); {remedy}") from None


def _json(comparison: Comparison) -> str:
    return msgspec.json.format(msgspec.json.encode(comparison), indent=2).decode() + "\n"


def _csv(comparison: Comparison) -> str:
    from prefork.lab.tables import csv

    return csv(comparison)


def _markdown(comparison: Comparison) -> str:
    from prefork.lab.tables import markdown

    return markdown(comparison)


def _html(comparison: Comparison) -> str:
    from prefork.lab.html import page

    return page(comparison)


_PRINTERS: dict[str, Callable[[Comparison], str]] = {
    "as_json": _json,
    "as_csv": _csv,
    "as_markdown": _markdown,
    "as_html": _html,
}
