"""The pages that promise say what is tested, and each fault that is tested stands on its page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.harness import ROOT

HERE = Path(__file__).parent


def named(page: Path) -> Iterator[tuple[str, str]]:
    """File and function of each test that a page names; ``::test_x`` is of the file named before."""
    file = ""
    for path, function in re.findall(r"`([\w/]*\.py)?(?:::(\w+))?`", page.read_text()):
        file = path or file
        if function:
            yield file, function


def found(file: str) -> Path:
    """Where a page that gives no directory means it to be."""
    places = [HERE / file, HERE.parent / file, ROOT / file]
    return next((place for place in places if place.is_file()), places[-1])


@pytest.mark.parametrize("page", ["faults.md", "promises.md"])
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    """A promise names the test that holds it, by its real name."""
    missing = [
        f"{file}::{function}"
        for file, function in named(ROOT / "docs" / page)
        if not found(file).is_file() or f"def {function}(" not in found(file).read_text()
    ]
    assert missing == []


def test_every_fault_stands_on_its_page() -> None:
    """Who adds one says there what a client notices."""
    told = {function for _, function in named(ROOT / "docs/faults.md")}
    tested = {
        function
        for file in HERE.glob("test_*.py")
        if file.name != Path(__file__).name
        for function in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert tested - told == set()
