"""Pictures: the sizes of pools through a day, as small SVG files that show what a table cannot.

It must not know how a day was spent. Invariant: the same day gives the same file, byte by byte.
"""

from collections.abc import Iterable, Sequence
from html import escape

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 30, 28
STEPS = 400  # of a line: a point a pixel and a half
COLOURS = ("#d62728", "#1f77b4", "#9467bd", "#2ca02c", "#8c564b")
GREY = "#888888"  # readable on white and on black

Series = Sequence[tuple[float, int]]  # a value from each moment on


def draw(title: str, seconds: float, needed: Series, pools: Iterable[tuple[str, Series]]) -> str:
    """:param needed: drawn as an area behind the lines of ``pools``."""
    named = list(pools)
    highest = max(value for series in (needed, *(pool for _, pool in named)) for _, value in series)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"',
        '  font-size="11">',
        f"<title>{escape(title)}</title>",
        *_axes(seconds, highest),
        f'<path fill="{GREY}" fill-opacity="0.35" d="{_line(needed, seconds, highest)}V{HEIGHT - BOTTOM}H{LEFT}Z"/>',
    ]
    x = LEFT
    for colour, (name, series) in zip((GREY, *COLOURS), (("needed", needed), *named), strict=False):
        if name != "needed":
            path = _line(series, seconds, highest)
            parts.append(f'<path fill="none" stroke="{colour}" stroke-width="1.3" d="{path}"/>')
        parts.append(f'<text x="{x}" y="16" fill="{colour}">{escape(name)}</text>')
        x += 7 * len(name) + 14
    return "\n".join([*parts, "</svg>", ""])


def _axes(seconds: float, highest: int) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [f'<path fill="none" stroke="{GREY}" d="M{LEFT} {TOP}V{bottom}H{right}"/>']
    for share in (0, 0.5, 1):
        x, y = LEFT + share * (right - LEFT), bottom - share * (bottom - TOP)
        anchor = ("start", "middle", "end")[int(2 * share)]
        parts.append(
            f'<text x="{x:g}" y="{HEIGHT - 10}" fill="{GREY}" text-anchor="{anchor}">{share * seconds:g} s</text>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:g}" fill="{GREY}" text-anchor="end">{share * highest:.0f}</text>')
    return parts


def _line(series: Series, seconds: float, highest: int) -> str:
    """The greatest value of each step, for a peak should not vanish between two points."""
    width = seconds / STEPS
    values, index, value = [], 0, series[0][1]
    for step in range(STEPS):
        most = value
        while index < len(series) and series[index][0] < (step + 1) * width:
            value = series[index][1]
            most = max(most, value)
            index += 1
        values.append(most)
    parts, before = [f"M{LEFT} {_y(values[0], highest)}"], values[0]
    for step, value in enumerate(values):
        if value != before:
            parts.append(f"H{LEFT + step * (WIDTH - RIGHT - LEFT) / STEPS:.1f}V{_y(value, highest)}")
            before = value
    return "".join([*parts, f"H{WIDTH - RIGHT}"])


def _y(value: int, highest: int) -> str:
    return f"{HEIGHT - BOTTOM - value / max(1, highest) * (HEIGHT - BOTTOM - TOP):.1f}"
