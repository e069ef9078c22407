"""``deploy/`` is what ``prefork init`` writes for the example, so what is tried there is what users get."""

import re
from pathlib import Path

import pytest

from prefork.init import kits, templates
from tests.init import deploying
from tests.init.deploying import DEPLOY, TEMPLATES, example, rendered

RENDERED = rendered()
THERE = sorted(path for path in RENDERED if (DEPLOY / path).parent.is_dir())


@pytest.mark.parametrize("path", THERE)
def test_deploy_is_what_the_templates_become(path: str) -> None:
    """`make deploy` writes it so; how to make a template of a file there: ``deploying.py``."""
    assert (DEPLOY / path).read_text() == RENDERED[path]


def test_each_kit_has_templates_and_each_template_a_kit() -> None:
    """Nothing is forgotten on either side."""
    assert {path.name for path in TEMPLATES.iterdir()} == {kit.name for kit in kits.KITS}
    assert all(templates.names(kit.name) for kit in kits.KITS)


@pytest.mark.parametrize("path", sorted(RENDERED))
def test_nothing_is_left_to_fill_in(path: str) -> None:
    """An ``@NAME@`` that nobody knows would be found by whoever starts it."""
    assert re.findall("@[A-Z_]+@", RENDERED[path]) == []


def test_what_is_adopted_becomes_the_same_file() -> None:
    """A file goes to its template and back."""
    values = example("systemd").values()
    for path, text in RENDERED.items():
        kit = path.partition("/")[0]
        assert templates.fill(templates.adopted(text, example(kit).values()), example(kit).values()) == text, path
    assert templates.fill("a @HAS_SOCKET@b\nc @NAME@ $host %t @system-service\n", values) == (
        "c shop $host %t @system-service\n"
    )


def test_a_template_follows_a_file_that_was_changed_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says of its own stays; where both have changed the same line, that is told."""
    path = "systemd/shop.socket"
    template, file = tmp_path / "templates" / path, tmp_path / "deploy" / path
    for place in (template, file):
        place.parent.mkdir(parents=True)
    monkeypatch.setattr(deploying, "TEMPLATES", tmp_path / "templates")
    monkeypatch.setattr(deploying, "DEPLOY", tmp_path / "deploy")
    before = (TEMPLATES / path).read_text()
    template.write_text(before)
    file.write_text(RENDERED[path].replace("nobody is refused", "nobody of shop is refused"))
    assert deploying.adopt(file) == (template, True)
    assert template.read_text() == before.replace("nobody is refused", "nobody of @NAME@ is refused")
    template.write_text(before)
    file.write_text(RENDERED[path].replace("ListenStream=0.0.0.0:9000", "ListenStream=0.0.0.0:9001"))
    assert deploying.adopt(file) == (template, False)
    template.unlink()
    file.write_text("Description=shop\n")
    assert deploying.adopt(file) == (template, True)
    assert template.read_text() == "Description=@NAME@\n"
