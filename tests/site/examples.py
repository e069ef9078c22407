"""What a reader may copy from the pages: their fenced blocks, by language, and commands in the middle of a sentence.

It must not know what is right about one; ``test_examples.py`` tries them.
Invariant: every block says its language, and every language is tried or stands in a list with its reason.
"""

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from tests.site.shelves import DOCS, ROOT

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`(prefork [a-z][^`\n]*)`")
_ENDS = {"|", "||", "&", "&&", ";", ">", "<"}  # what ends a command of ours, but for its arguments


class Example(NamedTuple):
    """:param page: its path from the top of the project; ``line`` the number of the block's first one."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def examples(*languages: str) -> list[Example]:
    """Of all pages; of some languages only, where any are given."""
    return [example for page in _pages() for example in _blocks(page) if not languages or example.language in languages]


def inline() -> list[Example]:
    """The commands within sentences."""
    return [
        Example(page, text[: found.start()].count("\n") + 1, "sh", found[1])
        for page in _pages()
        for text in [_BLOCK.sub(_blank, (ROOT / page).read_text())]
        for found in _INLINE.finditer(text)
    ]


def commands(text: str) -> Iterator[list[str]]:
    """The words of each call of ``prefork`` in lines of a shell; in a transcript only what is behind a ``$``."""
    whole = text.replace("\\\n", " ")
    for line in re.findall(r"^\$ (.*)", whole, re.MULTILINE) or whole.splitlines():
        for command in re.findall(r"\$\((prefork [^)]*)\)", line) or [line]:
            words = _words(command)
            if words[:1] == ["prefork"]:
                yield words[1:]


def _words(command: str) -> list[str]:
    """Up to a comment, a pipe, or whatever else is no argument."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    end = next((number for number, word in enumerate(words) if word in _ENDS), len(words))
    return words[:end]


def _pages() -> list[str]:
    pages = [*sorted(DOCS.rglob("*.md")), *sorted((ROOT / "examples").glob("*.md"))]
    return ["README.md", *(str(page.relative_to(ROOT)) for page in pages)]


def _blocks(page: str) -> Iterator[Example]:
    text = (ROOT / page).read_text()
    for block in _BLOCK.finditer(text):
        indent = len(block["indent"])
        body = "".join(line[indent:] or "\n" for line in block["text"].splitlines(keepends=True))
        yield Example(page, text[: block.start("text")].count("\n") + 1, block["language"], body)


def _blank(block: re.Match[str]) -> str:
    """As many lines of nothing, so that what follows keeps its number."""
    return "\n" * block[0].count("\n")
