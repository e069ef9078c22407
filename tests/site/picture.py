"""``docs/architecture/states.svg``: the states of a worker from top to bottom, and what changes them.

It must not know a state by name: their order is that of the code, the arrows are those of ``transitions.py``.
Invariant: the same changes give the same picture, byte for byte.
"""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from prefork.pool.records import State
from tests.site.transitions import GONE, NONE, Change, changes

STATES = (NONE, *(state.name for state in State), GONE)
_WIDTH, _STEP, _TOP = 528, 96, 40
_BOX_X, _BOX_WIDTH, _BOX_HEIGHT = 150, 120, 40
_BUS_X = 40  # where those who end come together
_LANE_X, _LANE_STEP = 400, 28  # of arrows that skip a state
_INK, _LINE, _FILL = "#263238", "#00796b", "#e0f2f1"


class Arrow(NamedTuple):
    """Everything that leads from one state to another.

    :param before: the numbers of the states in ``STATES``, and ``after``.
    :param label: the news.
    """

    before: int
    after: int
    label: tuple[str, ...]


def svg() -> str:
    return drawn(arrows(changes()))


def arrows(found: Sequence[Change]) -> list[Arrow]:
    pairs = dict.fromkeys((change.before, change.after) for change in found)
    return [
        Arrow(STATES.index(before), STATES.index(after), _news(found, before, after))
        for before, after in sorted(pairs, key=lambda pair: (STATES.index(pair[0]), STATES.index(pair[1])))
    ]


def drawn(all_arrows: Sequence[Arrow]) -> str:
    height = _y(len(STATES) - 1) + _TOP
    last = len(STATES) - 1
    next_door = [arrow for arrow in all_arrows if arrow.after == arrow.before + 1]
    ending = [arrow for arrow in all_arrows if arrow.after == last and arrow not in next_door]
    lanes = _widest_last([arrow for arrow in all_arrows if arrow not in (*next_door, *ending)])
    said = "; ".join(f"{STATES[a.before]} to {STATES[a.after]}: {', '.join(a.label)}" for a in all_arrows).lower()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="14" role="img">',
        f"<title>The states of a worker</title><desc>{escape(said)}</desc>",
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0L8 4L0 8Z" fill="{_LINE}"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
        *(part for arrow in next_door for part in _straight(arrow)),
        *(part for lane, arrow in enumerate(lanes) for part in _skip(arrow, lane, _entrance(arrow, lanes))),
        *(part for arrow in ending for part in _end(arrow)),
        *(_state(number) for number in range(len(STATES))),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _news(found: Sequence[Change], before: str, after: str) -> tuple[str, ...]:
    return tuple(change.news for change in found if (change.before, change.after) == (before, after))


def _widest_last(skipping: Sequence[Arrow]) -> list[Arrow]:
    """So that lanes do not cross where they need not."""
    return sorted(skipping, key=lambda arrow: (arrow.after - arrow.before, arrow.before))


def _y(number: int) -> int:
    return _TOP + number * _STEP


def _state(number: int) -> str:
    x, y, name = _BOX_X + _BOX_WIDTH // 2, _y(number), STATES[number]
    if name in (NONE, GONE):
        return f'<circle cx="{x}" cy="{y}" r="8" fill="{_INK}"/>' + _text(x + 18, y + 5, "" if name == NONE else name)
    box = f'x="{_BOX_X}" y="{y - _BOX_HEIGHT // 2}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="8"'
    return f'<rect {box} fill="{_FILL}" stroke="{_LINE}"/>' + _text(x, y + 5, name.lower(), "middle", "bold")


def _straight(arrow: Arrow) -> Iterator[str]:
    """To the state below."""
    x = _BOX_X + _BOX_WIDTH // 2
    top, bottom = _y(arrow.before) + _rim(arrow.before), _y(arrow.after) - _rim(arrow.after)
    yield _path(f"M{x} {top}V{bottom}")
    yield _text(x + 10, (top + bottom) // 2 + 5, ", ".join(arrow.label))


def _skip(arrow: Arrow, lane: int, bottom: int) -> Iterator[str]:
    """Down a lane on the right."""
    right, x = _BOX_X + _BOX_WIDTH, _LANE_X + lane * _LANE_STEP
    top = _y(arrow.before) + (-10 if arrow.after - arrow.before > 2 else 12)
    yield _path(f"M{right} {top}H{x - 8}q8 0 8 8V{bottom - 8}q0 8 -8 8H{right}")
    yield _text(right + 10, top - 4, ", ".join(arrow.label))


def _end(arrow: Arrow) -> Iterator[str]:
    """Down the bus on the left, to where the last arrow of all points."""
    y, x, end = _y(arrow.before), _BOX_X + _BOX_WIDTH // 2 - 8, _y(arrow.after)
    yield _path(f"M{_BOX_X} {y}H{_BUS_X + 8}q-8 0 -8 8V{end - 8}q0 8 8 8H{x}")
    for line, news in enumerate(reversed(arrow.label)):
        yield _text(_BUS_X + 14, y - 5 - 16 * line, news)


def _entrance(arrow: Arrow, lanes: Sequence[Arrow]) -> int:
    """Where it meets its box: the outermost lane highest."""
    inner = [other for other in lanes[: lanes.index(arrow)] if other.after == arrow.after]
    outer = [other for other in lanes[lanes.index(arrow) + 1 :] if other.after == arrow.after]
    middle = 0 if inner or outer else -12
    return _y(arrow.after) + middle + 6 * (len(outer) - len(inner))


def _rim(number: int) -> int:
    return 8 if STATES[number] in (NONE, GONE) else _BOX_HEIGHT // 2


def _path(steps: str) -> str:
    return f'<path d="{steps}" fill="none" stroke="{_LINE}" stroke-width="1.5" marker-end="url(#tip)"/>'


def _text(x: int, y: int, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="{_INK}">{escape(text)}</text>'
