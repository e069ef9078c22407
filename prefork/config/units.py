"""Durations as people write them: ``"30s"``, ``"250ms"``, ``1.5``.

Invariant: what is read here is a finite number of seconds, not negative.
"""

import math
import re

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Seconds(float):
    """A duration. A bare number is seconds."""


def parse_seconds(value: object) -> Seconds:
    """:raises ValueError: it is no duration."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|)", str(value).strip())
    seconds = math.inf if match is None or isinstance(value, bool) else float(match[1]) * _SECONDS[match[2]]
    if not math.isfinite(seconds):
        raise ValueError(f"{value!r} is no duration; write it as 30s, 250ms, 2m or a number of seconds")
    return Seconds(seconds)
