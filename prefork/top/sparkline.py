"""A sparkline: the last values of a series, a character each, the newest to the right.

It must not know what the values are.
Invariant: as wide as it may be, whatever there is to show.
"""

from collections.abc import Sequence

STROKES = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int, top: float | None = None) -> str:
    """:param values: the oldest first; of ``None`` nothing is known, and it is a blank.
    :param top: what the highest stroke stands for; ``None`` is the largest value that is shown.
    """
    shown = values[-width:] if width > 0 else ()
    highest = top or max((value for value in shown if value is not None), default=0.0)
    return "".join(_stroke(value, highest) for value in shown).rjust(max(0, width))


def _stroke(value: float | None, highest: float) -> str:
    if value is None:
        return " "
    if value <= 0 or highest <= 0:
        return STROKES[0]
    share = min(1.0, value / highest)
    return STROKES[max(1, round(share * (len(STROKES) - 1)))]  # whatever is not nothing is seen
