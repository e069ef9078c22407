"""``docs/doctor.md`` has a row for each check, in the order in which they are made, in the words of the code."""

import inspect
import re

from prefork.doctor.checks import GROUPS, name_of
from tests.end_to_end.harness import ROOT

PAGE = ROOT / "docs" / "doctor.md"


def table() -> str:
    """As it stands in the page; to renew it: ``python -m tests.doctor.test_docs``."""
    rows = ["| of | check | looks at |", "|---|---|---|"]
    for group in GROUPS:
        for check in group.checks:
            rows.append(f"| {group.title} | {name_of(check)} | {_words(check)} |")
    return "\n".join(rows) + "\n"


def _words(check: object) -> str:
    """The docstring, in one line and without its full stop."""
    return " ".join((inspect.getdoc(check) or "").split()).rstrip(".").replace("``", "`")


def test_the_table_is_what_the_code_says() -> None:
    """Each check, its group, and what it looks at."""
    assert table() in PAGE.read_text()


def test_each_check_says_what_it_looks_at() -> None:
    """To users, in a sentence."""
    assert all(len(_words(check)) > 10 for group in GROUPS for check in group.checks)


if __name__ == "__main__":
    PAGE.write_text(re.sub(r"\| of \| check .*?\n(?!\|)", lambda _: table(), PAGE.read_text(), flags=re.DOTALL))
