"""What the checks found, as a page for people: a line each, and of what is not fine the reason and the command.

It must not know what was checked. Invariant: no line is wider than it may be, but for a command, which is copied whole.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prefork.doctor.findings import Finding, Verdict
from prefork.report.units import plain
from prefork.system.sudo import typed

WIDTH = 100  # characters
_MARKS: dict[Verdict, str] = {"fine": "ok", "note": "note", "bites": "BITES", "skipped": "-"}
_MARK, _ABOUT = 6, 22  # widths of columns
Found = Mapping[str, Sequence[Finding]]


def lines(title: str, found: Found, width: int = WIDTH) -> Iterator[str]:
    yield plain(title)
    for group, findings in found.items():
        yield ""
        yield group
        for finding in findings:
            yield from _finding(finding, width)
    yield ""
    yield summary(found)


def _finding(finding: Finding, width: int) -> Iterator[str]:
    head = f"  {_MARKS[finding.verdict]:{_MARK}}{finding.about:{_ABOUT}}"
    yield from _wrapped(head, finding.measured, width)
    if finding.why:
        yield from _wrapped(" " * len(head), f"{finding.why}", width)
    for command in finding.commands:
        yield f"{' ' * len(head)}{'' if command.startswith('#') else '$ '}{plain(typed(command))}"


def _wrapped(head: str, text: str, width: int) -> list[str]:
    indent = " " * len(head)
    return textwrap.wrap(
        plain(text),
        width,
        initial_indent=head,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def summary(found: Found) -> str:
    """What it comes to."""
    verdicts = [finding.verdict for findings in found.values() for finding in findings]
    biting, notes, left = (verdicts.count(verdict) for verdict in ("bites", "note", "skipped"))
    text = "nothing would bite" if not biting else f"{biting} thing{'s' * (biting != 1)} would bite"
    text += f", {notes} note{'s' * (notes != 1)}" if notes else ""
    return text + (f", {left} not looked at" if left else "")


def as_plain(title: str, found: Found) -> dict[str, Any]:
    """The same for programs."""
    findings = [
        {
            "group": group,
            "check": f.about,
            "verdict": f.verdict,
            "measured": f.measured,
            "why": f.why,
            "commands": tuple(map(typed, f.commands)),
        }
        for group, checked in found.items()
        for f in checked
    ]
    return {"looked_at": title, "would_bite": does_bite(found), "findings": findings}


def does_bite(found: Found) -> bool:
    return any(finding.verdict == "bites" for findings in found.values() for finding in findings)
