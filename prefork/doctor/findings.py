"""Findings: what a check has to say, each with what was measured, what follows, and the command that changes it.

It must not know what is checked. Invariant: what bites, or is worth a note, says why.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

Verdict = Literal["bites", "note", "fine", "skipped"]


class Finding(NamedTuple):
    """:param about: the check, in words of operators.
    :param verdict: ``bites``: sooner or later a request, a start or a stop fails for it.
    :param measured: what is, in a few words.
    :param why: what comes of it, of what is not fine.
    :param commands: what one types to change it, or to see more; what is no command begins with ``#``.
    """

    verdict: Verdict
    measured: str
    why: str = ""
    commands: tuple[str, ...] = ()
    about: str = ""


Findings = Iterator[Finding]


def fine(measured: str) -> Finding:
    return Finding("fine", measured)


def note(measured: str, why: str, *commands: str) -> Finding:
    return Finding("note", measured, why, commands)


def bites(measured: str, why: str, *commands: str) -> Finding:
    return Finding("bites", measured, why, commands)


def skipped(why: str) -> Finding:
    return Finding("skipped", why)
