"""Which pages there are, on which shelf: the rows of the table in ``README.md``, and nothing else says so.

    | **run it** | [configuration](docs/configuration.md) · [signals](docs/signals.md) |

What lies in the folder of a page's name, as ``docs/decisions/`` of ``docs/decisions.md``, stands below that page.
Invariant: a page of ``docs/`` that is on no shelf does not pass ``tests/test_docs.py``.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


class Shelf(NamedTuple):
    """:param pages: what each is called here, and its path from the top of the project."""

    title: str
    pages: Mapping[str, str]


def shelves(readme: str) -> list[Shelf]:
    """In the order of the rows."""
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", readme, re.MULTILINE)
    return [Shelf(title, dict(re.findall(r"\[([^\]]+)\]\(([^)]+\.md)\)", links))) for title, links in rows]


def below(page: Path) -> dict[str, Path]:
    """The pages in the folder of its name, as it calls them and in its order."""
    links = re.findall(rf"\[([^\]]+)\]\(({re.escape(page.stem)}/[\w-]+\.md)\)", page.read_text())
    return {title: page.parent / path for title, path in links}


def heading(page: Path) -> str:
    """The question that it answers."""
    return page.read_text().partition("\n")[0].removeprefix("# ")


def nav(readme: str) -> list[dict[str, Any]]:
    """The shelves as mkdocs wants them."""
    return [{shelf.title.capitalize(): [_entry(*page) for page in shelf.pages.items()]} for shelf in shelves(readme)]


def _entry(title: str, path: str) -> dict[str, Any]:
    page = ROOT / path
    uri = path.removeprefix("docs/") if path.startswith("docs/") else f"source/{path}"
    children = [{name: str(child.relative_to(DOCS))} for name, child in below(page).items()]
    return {title: [{"all of them": uri}, *children]} if children else {title: uri}
