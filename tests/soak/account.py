"""What faults may cost, and what was lost: one line a service, one line a kind of fault.

It must not know how a fault is done. Invariant: nothing is excused that no fault was injected for.
Read next: ``faults.py``, where each says its price.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tests.end_to_end.load import Outcome


class Price(NamedTuple):
    """What one injected fault may cost the requests of others at most.

    :param service: whose requests; those of all other services are not touched.
    :param why: as the table says it.
    """

    service: str
    requests: int
    why: str


class Account:
    """The books of one run."""

    def __init__(self, services: list[str]) -> None:
        self._services = services
        self.injected: Counter[str] = Counter()
        self._allowed: Counter[str] = Counter()
        self._why: dict[str, Counter[str]] = {name: Counter() for name in services}
        self._dearest: Counter[str] = Counter()
        self.outcomes: dict[str, Outcome] = {}
        self.trouble: list[str] = []

    def enter(self, fault: str, prices: list[Price]) -> None:
        self.injected[fault] += 1
        self._dearest[fault] = max(self._dearest[fault], sum(price.requests for price in prices))
        for price in prices:
            self._allowed[price.service] += price.requests
            self._why[price.service][price.why] += 1

    @property
    def allowed(self) -> int:
        return self._allowed.total()

    def is_kept(self, service: str) -> bool:
        """Whether no more was lost than the faults may cost, and nothing was answered wrongly."""
        outcome = self.outcomes[service]
        return outcome.wrong == 0 and outcome.admitted_in_vain <= self._allowed[service]

    def verdict(self) -> list[str]:
        """What speaks against this run; nothing, if it went well."""
        broken = [f"{name}: {self.outcomes[name]}" for name in self._services if not self.is_kept(name)]
        return broken + self.trouble

    def table(self) -> Iterator[str]:
        """As Markdown."""
        yield "| service | requests | answered | lost | at most | for |"
        yield "|---|--:|--:|--:|--:|---|"
        totals = [0, 0, 0, 0]
        for name in self._services:
            outcome = self.outcomes[name]
            lost = outcome.admitted_in_vain
            row = [outcome.answered + lost, outcome.answered, lost, self._allowed[name]]
            totals = [total + number for total, number in zip(totals, row, strict=True)]
            why = ", ".join(f"{count} {what}" for what, count in self._why[name].most_common())
            yield f"| {name} | {_cells(row)} | {why} |"
        yield f"| **all** | {_cells(totals)} | |"
        yield ""
        yield "| fault | times | may cost, each |"
        yield "|---|--:|--:|"
        for fault, times in sorted(self.injected.items()):
            yield f"| {fault} | {times} | {self._dearest[fault] or 'nothing'} |"


def _cells(numbers: list[int]) -> str:
    return " | ".join(f"{number:,}".replace(",", " ") for number in numbers)
