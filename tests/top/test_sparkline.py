"""A sparkline shows a series in as many characters as it may have."""

from collections.abc import Sequence

import pytest

from prefork.top.sparkline import sparkline


@pytest.mark.parametrize(
    ("values", "width", "top", "text"),
    [
        ([], 4, None, "    "),
        ([0, 1, 4, 8], 4, None, "▁▂▅█"),
        ([8, 4, 1, 0], 2, None, "█▁"),  # the newest, and on their own scale
        ([5], 3, None, "  █"),
        ([0, 0], 2, None, "▁▁"),
        ([0.5, 1, 2], 3, 1.0, "▅██"),  # of a scale that is given
        ([0.001, 1], 2, None, "▂█"),  # what is not nothing is seen
        ([None, 1, None], 3, None, " █ "),
        ([1], 0, None, ""),
    ],
)
def test_the_newest_values_to_the_right(
    values: Sequence[float | None], width: int, top: float | None, text: str
) -> None:
    """The largest is the highest stroke; what is not known is a blank."""
    assert sparkline(values, width, top) == text
