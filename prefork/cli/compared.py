"""What comes of ``prefork compare``: a comparison printed, saved, read again, and made into pages.

It must not know how anything is measured. Invariant: a file is whole or is not there, also when we are killed; what
cannot be written is said before hours are spent on it, and where that comes out later it costs nothing but itself.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence

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
    :raises UsageError: a path cannot be written, or two of them are one.
    """
    paths = {name: str(flags[name]) for name in FLAGS if flags[name]}
    _refuse_same(paths)
    if title:
        _refuse_stdout(paths)
        head = f"-{title.partition('=')[0]}"
        paths = {name: path if path == STDOUT else head.join(os.path.splitext(path)) for name, path in paths.items()}
    for name, path in paths.items():
        if path != STDOUT:
            for one in (path,) if _is_special(path) else (path, _beside(path)):
                refuse_unwritable(FLAGS[name], one, typed=str(flags[name]))
    return paths


def _refuse_same(paths: Outputs) -> None:
    seen: dict[str, str] = {}
    for name, path in paths.items():
        place = path if path == STDOUT else os.path.realpath(path)
        if place in seen:
            where = "standard output" if path == STDOUT else path
            raise UsageError(f"{seen[place]} and {FLAGS[name]} both go to {where}; give each a path of its own")
        seen[place] = FLAGS[name]


def _refuse_stdout(paths: Outputs) -> None:
    for name, path in paths.items():
        if path == STDOUT:
            raise UsageError(
                f"{FLAGS[name]}: several workloads do not go to standard output as one; give the path of a file, "
                "or a TARGET"
            )


def _beside(path: str) -> str:
    """Where it is written before it takes its place, whole; a link stays one."""
    return f"{os.path.realpath(path)}.part"


def _is_special(path: str) -> bool:
    """A device or a pipe, which is written to and never replaced."""
    return os.path.exists(path) and not os.path.isfile(path)


class Saving:
    """So much as is known so far, where it was asked for as JSON into a file.

    A file that cannot be written is told once, and costs the measurement nothing.
    """

    def __init__(self, outputs: Outputs) -> None:
        path = outputs.get("as_json", STDOUT)
        self._path = "" if path == STDOUT or _is_special(path) else path
        self._is_told = False

    def save(self, comparison: Comparison) -> None:
        if not self._path:
            return
        try:
            _write("as_json", self._path, _json(comparison))
        except CommandError as error:
            if not self._is_told:
                click.echo(f"{error}; measuring goes on, and it is tried again", err=True)
            self._is_told = True


def show(comparison: Comparison, outputs: Outputs) -> list[str]:
    """Print the table, then write all files.

    What is asked for on standard output stands there in place of the table.

    :returns: why files could not be written; all others were.
    """
    failed = []
    try:
        _print(comparison, [name for name, path in outputs.items() if path == STDOUT])
    finally:
        for name, path in outputs.items():
            try:
                if path != STDOUT:
                    _write(name, path, _PRINTERS[name](comparison))
            except CommandError as error:
                failed.append(str(error))
    return failed


def _print(comparison: Comparison, names: Sequence[str]) -> None:
    """:param names: of ``FLAGS``, in which form; none is the table."""
    for name in names:
        text = _PRINTERS[name](comparison)
        click.echo(text, nl=not text.endswith("\n"))
    if not names:
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
    """:raises CommandError: it cannot be written."""
    try:
        if _is_special(path):
            _put(path, text)
        else:
            _put(_beside(path), text)
            os.replace(_beside(path), os.path.realpath(path))
    except OSError as error:
        remedy = "give another path"
        raise CommandError(f"{FLAGS[name]}: {path} cannot be written ({error.strerror}); {remedy}") from None


def _put(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)


def _json(comparison: Comparison) -> str:
    """Beside the record, as ``shown``, what a table says of it, for programs; nobody reads that back."""
    from prefork.lab.tables import figures

    whole = msgspec.to_builtins(comparison) | {"shown": figures(comparison)}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode() + "\n"


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
