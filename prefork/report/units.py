"""How figures are written for people: ages, durations, sizes, shares and rates, in few characters.

It must not know what is measured.
Invariant: nothing that is written here steers a terminal, and a figure has three digits at most before it takes a
larger unit.
"""

_THOUSAND = 999.5  # is written so, without a digit behind the point
_HUNDRED = 99.95  # likewise, with one
_AGES = (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1))


def age(seconds: float) -> str:
    """A duration in its two largest units: ``2d 4h``, ``3m 20s``, ``0.25s``."""
    if seconds < 10:
        return f"{seconds:.2f}s".replace(".00s", "s")
    whole = int(seconds)
    for unit, size, below, smaller in _AGES:
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size}{unit}" + (f" {rest}{below}" if rest else "")
    return f"{whole}s"


def latency(seconds: float | None) -> str:
    """What a request takes, in three digits: ``63µs``, ``1.25ms``, ``2.5s``; what is not known is a dash.

    From a thousand seconds on it is an age: ``25m``.
    """
    if seconds is None:
        return "-"
    for unit, size in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        value = seconds / size
        if value < _THOUSAND:
            return f"{value:.3g}{unit}"
    return age(seconds)


def size(amount: int) -> str:
    """Bytes: ``512K``, ``1.5M``, ``2.0G``."""
    value, unit = amount / 1024, "K"
    for larger in "MGTPE":
        if value >= _THOUSAND:
            value, unit = value / 1024, larger
    return f"{value:.0f}{unit}" if unit == "K" or value >= _HUNDRED else f"{value:.1f}{unit}"


def rate(a_second: float) -> str:
    """So many a second: ``0.5/s``, ``1234/s``."""
    return f"{a_second:.1f}/s" if a_second < _HUNDRED else f"{a_second:.0f}/s"


def share(part: float) -> str:
    """:param part: 1 is all of it."""
    return f"{100 * part:.0f}%"


def plain(text: str) -> str:
    """What an application says may not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cut(text: str, width: int) -> str:
    """What does not fit is cut, and seen to be."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"
