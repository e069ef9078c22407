"""A transcript: the blocks of a page that begin with ``$``, each a command and what it printed.

It must not know what is run. Invariant: a page whose steps are written back unchanged is the page.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_BLOCK = re.compile(r"```console\n(.*?)```\n", re.DOTALL)
_NUMBER = re.compile(r"\d+(?:[.:]\d+)*")
_DURATION = re.compile(r"\bN(?:ms|µs|s|m|h|d)(?: N(?:s|m|h))?\b")
_MEMORY = re.compile(r"  memory .*")
_UNREAD = re.compile(r" -(?= |$)")  # memory: on a busy machine not all of it is looked up


class Step(NamedTuple):
    """:param command: behind the ``$``."""

    command: str
    output: str


def steps(page: str) -> Iterator[Step]:
    for block in _BLOCK.findall(page):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            yield Step(command, output)


def rewritten(page: str, run: Callable[[str], Step]) -> str:
    """The page with what the commands print now.

    :param run: runs one, perhaps in other words.
    """

    def play(block: re.Match[str]) -> str:
        played = (run(step.command) for step in steps(block[0]))
        return "```console\n" + "".join(f"$ {command}\n{output}" for command, output in played) + "```\n"

    return _BLOCK.sub(play, page)


def shape(output: str) -> list[str]:
    """What is the same each time: the words of a line; not figures, the width of columns, nor which line is first."""
    lines = []
    for line in output.splitlines():
        text = _NUMBER.sub("N", _UNREAD.sub(" 0M", _MEMORY.sub("", line)))
        lines.append(" ".join(_DURATION.sub("T", text).split()))
    return sorted(lines)
