"""The list of ``docs/questions.md``: each page by the question that it answers, on the shelves of ``README.md``."""

import os

from tests.site import shelves


def of_all(_: str) -> str:
    readme = (shelves.ROOT / "README.md").read_text()
    return "\n\n".join(_section(shelf) for shelf in shelves.shelves(readme))


def _section(shelf: shelves.Shelf) -> str:
    lines = [f"## {shelf.title.capitalize()}", "", "| question | page |", "|---|---|"]
    for title, path in shelf.pages.items():
        page = shelves.ROOT / path
        lines.append(f"| {shelves.heading(page)} | [{title}]({os.path.relpath(page, shelves.DOCS)}) |")
        lines += [
            f"| {shelves.heading(child)} | [{name}]({child.relative_to(shelves.DOCS)}) |"
            for name, child in shelves.below(page).items()
        ]
    return "\n".join(lines)
