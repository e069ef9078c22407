"""The documentation keeps up: every setting has its row, and what is named for those who come from elsewhere exists."""

import re
from pathlib import Path

import pytest

from prefork.cli import COMMANDS
from prefork.config.instance import Instance
from prefork.config.service import Service
from prefork.config.settings import setting_names

DOCS = Path(__file__).parent.parent / "docs"
SETTINGS = [*setting_names(Instance), *setting_names(Service)]


def first_column(page: str) -> set[str]:
    rows = re.findall(r"^\| (`.+?) \|", (DOCS / page).read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_has_its_row(setting: str) -> None:
    """In the table of what can be set."""
    assert setting in first_column("configuration.md")


def test_every_command_that_steers_is_among_those_with_exit_codes() -> None:
    """All but those that need no running instance."""
    named = re.search(
        r"^Of the commands that steer.*?:$", (DOCS / "exit-codes.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert named is not None
    lab = {"load", "compare", "tune", "plan"}
    steering = set(COMMANDS) - {"run", "init", "check", "doctor", "completion"} - lab
    assert {name.removeprefix("prefork ") for name in re.findall(r"`(.+?)`", named[0])} == steering


def test_every_page_is_reached_from_the_readme() -> None:
    """Nobody finds a page by listing a directory."""
    linked = set(re.findall(r"\(docs/([\w-]+\.md)\)", (DOCS.parent / "README.md").read_text()))
    assert {path.name for path in DOCS.glob("*.md")} <= linked


def test_links_between_pages_lead_somewhere() -> None:
    """From page to page, and to the examples."""
    for page in DOCS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text()):
            assert (DOCS / link).exists(), f"{page.name} leads to {link}"
