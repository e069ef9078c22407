"""What to think of a load's figures: doubts, each with its figure and advice. Pure.

Invariant: a doubt is raised by what was measured, never by what was asked for alone.
"""

from collections.abc import Sequence

from prefork.lab.doubts import Doubt
from prefork.lab.load import Result
from prefork.lab.reports import Finished
from prefork.lab.samples import Samples


def doubts_of(result: Result, samples: Samples, ends: Sequence[Finished]) -> list[Doubt]:
    """In the order of their weight."""
    return []
