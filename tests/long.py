"""What the plain suite leaves to the long one: most rows of wide tables, and most examples of random histories.

    @pytest.mark.parametrize("mode", long_but(MODES, "thread", "fork"))

It must not know what is tested. Invariant: the two suites together leave nothing out.
Read next: the verbs ``test`` and ``long`` of the Makefile.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import settings


def long_but(rows: Iterable[Any], *plain: Any) -> list[Any]:
    """All ``rows`` of a table of parameters, of which the plain suite tries those of ``plain`` alone.

    :param rows: values, or tuples of values where there are several parameters.
    """
    rows = list(rows)
    assert all(row in rows for row in plain), "a row of the plain suite is none of the table"
    return [row if row in plain else _long(row) for row in rows]


def _long(row: Any) -> Any:
    return pytest.param(*(row if isinstance(row, tuple) else (row,)), marks=pytest.mark.long)


def histories(max_examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """So many random examples in the long suite; in the plain one the share that its profile allows, at least three.

    :param max_examples: of a hundred that a test has which asks for no number.
    """
    return settings(max_examples=max(3, max_examples * settings().max_examples // 100))
