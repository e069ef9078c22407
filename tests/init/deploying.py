"""``deploy/`` of the project: what the templates of ``prefork init`` become for the example, the instance ``shop``.

    python -m tests.init.deploying                                   write deploy/ anew, as `make deploy` does
    python -m tests.init.deploying adopt deploy/systemd/shop.socket  make a template of a file that was written there

``adopt`` replaces what it knows of the example (name, paths, user, addresses: ``prefork/init/site.py``) by ``@NAME@``
and the like, in a copy below ``prefork/init/templates``. Then look at what it made: a line with a value that a site may
lack, as ``@HAS_SOCKET@`` or ``@TCP_ALONE@``, is left out there. A test holds that template and file agree.
"""

import sys
from pathlib import Path

from prefork.address import parse
from prefork.cli.init import default_toml
from prefork.init import kits, templates
from prefork.init.site import EXAMPLE, Site
from tests.end_to_end.harness import ROOT

DEPLOY = ROOT / "deploy"
TEMPLATES = ROOT / "prefork" / "init" / "templates"
_TWO_DOORS = (parse("unix:/run/shop/shop.sock?mode=0660&group=www-data"), EXAMPLE.binds[0])


def example(kit: str) -> Site:
    """The example; nginx in front of it finds two doors."""
    return EXAMPLE._replace(binds=_TWO_DOORS) if kit == "nginx" else EXAMPLE


def rendered() -> dict[str, str]:
    """All files of ``deploy/`` that have templates, by path."""
    each = [kit._replace(is_beside=False) for kit in kits.KITS]
    files = {file.path: file.text for kit in each for file in kits.files(kit, example(kit.name))}
    return {"prefork.toml": default_toml(EXAMPLE), **files}


def adopt(path: Path) -> Path:
    """The template of the file."""
    relative = path.resolve().relative_to(DEPLOY)
    template = TEMPLATES / relative
    template.parent.mkdir(exist_ok=True)
    template.write_text(templates.adopted(path.read_text(), example(relative.parts[0]).values()))
    return template


if __name__ == "__main__":
    if sys.argv[1:2] == ["adopt"]:
        for name in sys.argv[2:]:
            print(adopt(Path(name)).relative_to(ROOT))
    else:
        for name, text in rendered().items():
            (DEPLOY / name).parent.mkdir(parents=True, exist_ok=True)
            (DEPLOY / name).write_text(text)
            print(f"deploy/{name}")
