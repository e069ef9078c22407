"""A manual page as troff reads it: sections, paragraphs, items, examples.

It must not know where the text comes from, and uses only what both groff and mandoc understand.
Invariant: text comes out of a terminal as it went in, and can be copied from there: a minus is a minus, a quote a
quote, and no line of it is taken for a request.
"""

from collections.abc import Iterable

_NAMED = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"})


def plain(text: str) -> str:
    """Text without meaning to troff, all of it ASCII."""
    return "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in text.translate(_NAMED))


def bold(text: str) -> str:
    return rf"\fB{plain(text)}\fR"


def italic(text: str) -> str:
    return rf"\fI{plain(text)}\fR"


class Page:
    """Grows from top to bottom. What it is given as ``text`` has come from the functions above.

    :param name: of what it describes, as ``prefork-stop``.
    :param section: of the manual.
    :param package: name and version, for the foot of the page. There is no date: it would be that of the build.
    """

    def __init__(self, name: str, section: int, package: str) -> None:
        self._lines = [
            f'.TH "{plain(name.upper())}" {section} "" "{plain(package)}"',
            ".nh",  # a name or a path that was cut at the end of a line could not be copied
            ".ad l",
        ]

    def section(self, title: str) -> None:
        self._lines.append(f'.SH "{plain(title.upper())}"')

    def subsection(self, title: str) -> None:
        self._lines.append(f'.SS "{plain(title)}"')

    def text(self, text: str) -> None:
        """Without a paragraph of its own: the line after a heading, or what is said of an item."""
        self._lines += [_harmless(line) for line in text.splitlines()]

    def paragraph(self, text: str) -> None:
        self._part()
        self.text(text)

    def item(self, tag: str, *lines: str) -> None:
        """Something and what is said of it, in one or several lines."""
        self._lines += [".TP", _harmless(tag)]
        for number, line in enumerate(lines):
            self._lines += [".br"] * (number > 0)
            self.text(line)

    def point(self, text: str) -> None:
        """Of a list."""
        self._lines.append(r".IP \(bu 2")
        self.text(text)

    def example(self, lines: Iterable[str]) -> None:
        """Lines as they are."""
        self._part()
        self._lines += [".RS 4", ".EX", *(_harmless(plain(line)) for line in lines), ".EE", ".RE"]

    def _part(self) -> None:
        """From what stands before, where that is no heading."""
        if not self._lines[-1].startswith((".SH", ".SS")):
            self._lines.append(".PP")

    def __str__(self) -> str:
        return "\n".join([*self._lines, ""])


def _harmless(line: str) -> str:
    """Not a request, whatever it begins with."""
    return rf"\&{line}" if line.startswith(".") else line
