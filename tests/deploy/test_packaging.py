"""What is built: what is in it, that it is the same wherever it is built, and what PyPI would show of it."""

import re
import tarfile
import zipfile
from pathlib import Path

import pytest
from readme_renderer import markdown

from prefork import __version__
from prefork.cli import COMMANDS
from tests.deploy.building import Built, copy_source, make_dist, needs, source_files, wheel_without_sdist
from tests.deploy.installers import interpreter
from tests.end_to_end.harness import ROOT

pytestmark = [pytest.mark.deployed, pytest.mark.timeout(600)]  # installers are slow where they fetch
PLAIN = f"prefork-{__version__}"
PAGES = {"man1/prefork.1", "man5/prefork.toml.5", *(f"man1/prefork-{name}.1" for name in COMMANDS)}
COMPLETIONS = {
    "bash-completion/completions/prefork",
    "fish/vendor_completions.d/prefork.fish",
    "zsh/site-functions/_prefork",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """By ``make dist``, of the tree as it is; it has passed ``twine check --strict``."""
    return make_dist(ROOT, tmp_path_factory.mktemp("dist"))


def test_a_wheel_has_the_package_its_pages_and_completions_and_nothing_else(built: Built) -> None:
    """No test, no tool of the build."""
    package = {name for name in source_files() if name.startswith("prefork/")}
    assert {"prefork/py.typed", "prefork/admin/page.html", "prefork/lab/report.html.j2"} <= package
    share = {f"{PLAIN}.data/data/share/{name}" for name in COMPLETIONS | {f"man/{page}" for page in PAGES}}
    about = {f"{PLAIN}.dist-info/{n}" for n in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    with zipfile.ZipFile(built.wheel) as wheel:
        assert set(wheel.namelist()) == package | share | about


def test_an_sdist_is_what_is_committed(built: Built) -> None:
    """With tests, docs and examples, so that all that can be done with the source can be done with it."""
    with tarfile.open(built.sdist) as sdist:
        assert {name.removeprefix(f"{PLAIN}/") for name in sdist.getnames()} == {*source_files(), "PKG-INFO"}


def test_the_same_source_gives_the_same_bytes(built: Built, tmp_path: Path) -> None:
    """In another directory, by files of other dates and modes, on another day, in another zone; from the sdist; and
    without one, by another front end and another Python."""
    source = copy_source(tmp_path / "a" / "copy")
    later = make_dist(
        source, tmp_path / "later", prefix=[needs("faketime"), "-f", "+36h"], umask=0o077, TZ="Asia/Tokyo", LC_ALL="C"
    )
    assert later.sdist.read_bytes() == built.sdist.read_bytes()
    assert later.wheel.read_bytes() == built.wheel.read_bytes()
    with tarfile.open(built.sdist) as sdist:
        sdist.extractall(tmp_path, filter="data")
    again = make_dist(tmp_path / PLAIN, tmp_path / "again")
    assert again.sdist.read_bytes() == built.sdist.read_bytes()
    assert again.wheel.read_bytes() == built.wheel.read_bytes()
    straight = wheel_without_sdist(source, tmp_path / "straight", interpreter("3.13"))
    assert straight.read_bytes() == built.wheel.read_bytes()


def test_what_pypi_shows_has_no_link_that_leads_nowhere(built: Built) -> None:
    """There is no docs/ there: the description names it instead."""
    with zipfile.ZipFile(built.wheel) as wheel:
        _, _, text = wheel.read(f"{PLAIN}.dist-info/METADATA").decode().partition("\n\n")
    shown = markdown.render(text)
    assert shown is not None
    assert ">prefork<" in shown
    assert [link for link in re.findall(r'(?:href|src)="([^"]*)"', shown) if not link.startswith(("https:", "#"))] == []
    assert "](" not in text
