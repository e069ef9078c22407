"""The pages hold together: links lead somewhere, words that are ours are ours, and both readers see the same."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import snapshots
from tests.site import outside, shelves
from tests.site.shelves import DOCS, ROOT

PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md")), *sorted((ROOT / "examples").glob("*.md"))]
SOURCE = "".join(path.read_text() for path in sorted((ROOT / "prefork").rglob("*.py")))
FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    """Without its blocks."""
    return FENCED.sub("", page.read_text())


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """To a page, a picture or a source. The site checks their anchors as well."""
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", prose(page))]
    missing = [target for target in targets if target and ":" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lists_and_tables_are_seen_alike(page: Path) -> None:
    """The site, unlike GitHub, needs an empty line before a list or a table, and four blanks before what is nested."""
    before = ""
    for line in prose(page).splitlines():
        assert not re.match(r" {1,3}([-|]|\d+\.) ", line), line
        begins_list = re.match(r"(-|\d+\.) ", line) and not re.match(r"(-|\d+\.| ) ?", before)
        begins_table = line.startswith("|") != before.startswith("|") and line.startswith(("|", "#"))
        assert not (before and (begins_list or begins_table)), line
        before = line


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_begins_with_its_question(page: Path) -> None:
    """One heading of the first order, at the top: the title on the site, and its line among the questions."""
    headings = re.findall(r"^# .*", prose(page), re.MULTILINE)
    assert len(headings) == 1
    assert page.read_text().startswith(headings[0])


@pytest.mark.parametrize("page", ["promises.md", "faults.md"])
def test_each_test_that_is_named_is_a_link_to_it(page: str) -> None:
    """And on the site to its line."""
    unlinked = re.findall(r"(?<!\[)`(?:[\w/]+\.py)?::\w+`", (DOCS / page).read_text())
    assert unlinked == []
    there = outside.rewritten((DOCS / page).read_text(), f"docs/{page}")
    lines = re.findall(r"::\w+`\]\(source/tests/[\w/.]+#__codelineno-0-\d+\)", there)
    assert len(lines) == len(re.findall(r"::\w+`\]\(", (DOCS / page).read_text()))


def test_what_is_quoted_as_ours_is_ours() -> None:
    """Who searches for a line of the log finds it on the page, so the page has it as the code has."""
    page = " ".join(prose(DOCS / "troubleshooting.md").split())
    quoted = [re.sub(r"\d+s?|SIG[A-Z]+", "…", words) for words in re.findall(r"“(.+?)”", page)]
    fragments = {part.strip() for words in quoted for part in words.split("…") if part.strip()} - {"quotes"}
    assert {fragment for fragment in fragments if fragment not in SOURCE} == set()


def test_every_field_of_the_status_is_on_its_page() -> None:
    """In docs/control.md, where programs that read it look."""
    page = (DOCS / "control.md").read_text()
    report = snapshots.report(snapshots.worker(1, current=[snapshots.request()])).as_plain()
    assert {key for key in keys(report) if not re.search(rf"[`.\]]{key}(\[\])?[`.]", page)} == set()


def keys(value: Any) -> Iterator[str]:
    """Those of all objects in it."""
    match value:
        case dict():
            yield from value
            for part in value.values():
                yield from keys(part)
        case list():
            for part in value:
                yield from keys(part)


def test_every_page_of_a_folder_is_reached_from_the_page_above() -> None:
    """As each page of ``docs/`` is from the README."""
    for page in DOCS.glob("*.md"):
        assert {*shelves.below(page).values()} == {*page.with_suffix("").glob("*.md")}


def test_a_link_is_rewritten_for_the_site() -> None:
    """Pages of ``docs/`` move up, sources get pages of their own, and addresses and anchors stay."""
    page = "[a](docs/tour.md#load) [b](examples/orders.py) ![c](docs/admin/page.png) [d](https://x.y/) [e](#use-it)\n"
    there = "[a](tour.md#load) [b](source/examples/orders.py.md) ![c](admin/page.png) [d](https://x.y/) [e](#use-it)\n"
    assert outside.rewritten(page, "README.md") == there
    assert outside.rewritten("[a](../../README.md)", "docs/decisions/mold.md") == "[a](../index.md)"
    assert outside.rewritten("```sh\n[a](docs/tour.md)\n```", "README.md") == "```sh\n[a](docs/tour.md)\n```"


def test_a_directory_is_a_list_of_what_is_in_it() -> None:
    """For pages that lead to a folder, as GitHub shows one."""
    assert "- [orders.py](examples/orders.py.md)\n- [prefork.toml](examples/prefork.toml.md)\n" in outside.page_of(
        "examples"
    )


def test_the_shelves_are_those_of_the_readme() -> None:
    """A row is a shelf; a page with a folder has its pages below it."""
    readme = "| | |\n|---|---|\n| **trust it** | [faults](docs/faults.md) · [decisions](docs/decisions.md) |\n"
    (entry,) = shelves.nav(readme)
    faults, decisions = entry["Trust it"]
    assert faults == {"faults": "faults.md"}
    assert decisions["decisions"][:2] == [
        {"all of them": "decisions.md"},
        {"a mold for each generation": "decisions/mold.md"},
    ]
