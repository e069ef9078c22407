"""What a shell may complete on the command line of what is known beforehand. It must not know which shell that is.

Read next: ``completing_running.py``, what the running instance is asked for; ``completion.py``, how a shell is taught.
"""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def words(*known: str) -> Complete:
    """Some that never change."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return fitting(known, incomplete)

    return complete


def lists(*known: str) -> Complete:
    """Of such words, with commas between them; none twice."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, _ = incomplete.rpartition(",")
        said = before.split(",")
        return fitting((f"{before}{comma}{word}" for word in known if word not in said), incomplete)

    return complete


def files(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def directories(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="dir")]


def fitting(found: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Those that begin with what was typed."""
    return [CompletionItem(word) for word in found if word.startswith(incomplete)]
