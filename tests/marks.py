"""Places of a page that a program writes, between marks; everything else on it is somebody's prose.

    <!-- made: echo -->
    <!-- end -->

It must not know what is written. Invariant: filling twice is the same as once.
"""

import re
from collections.abc import Mapping

_MADE = re.compile(r"(<!-- made: ([\w-]+) -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)


def parts(page: str) -> dict[str, str]:
    """What it has places for, by name, with what stands there."""
    return {found[2]: found[3].strip("\n") for found in _MADE.finditer(page)}


def filled(page: str, written: Mapping[str, str]) -> str:
    """:param written: by name; a place for which nothing is written stays as it is."""

    def put(found: re.Match[str]) -> str:
        return f"{found[1]}\n{written[found[2]]}\n{found[4]}" if found[2] in written else found[0]

    return _MADE.sub(put, page)
