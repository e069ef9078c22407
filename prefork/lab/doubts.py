"""A doubt: one reason not to believe a figure, as a sentence that ends in advice.

It must not know how the figure was made. Sources of the idea: hyperfine's warnings, each of which says what to do.
Invariant: a doubt has one line, and says what to try.
"""

import msgspec


class Doubt(msgspec.Struct, frozen=True):
    """See above.

    :param kind: in a word or two, for programs: ``generator-bound``, ``noise``, ``outliers``, ``too-short``.
    :param text: for people: what was seen, with its figure, and what to do; lowercase, one line, no full stop.
    """

    kind: str
    text: str

    def __str__(self) -> str:
        return self.text
