"""One browser for a file of tests, a feed and a tab for each."""

from collections.abc import Iterator

import pytest

from tests.page.browser import Browser
from tests.page.stage import Feed


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def feed() -> Iterator[Feed]:
    with Feed() as feed:
        yield feed
