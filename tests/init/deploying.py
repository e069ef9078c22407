"""``deploy/`` of the project: what the templates of ``prefork init`` become for the example, the instance ``shop``.

    python -m tests.init.deploying                                   write deploy/ anew, as `make deploy` does
    python -m tests.init.deploying adopt deploy/systemd/shop.socket  make a template of a file that was written there

``adopt`` replaces what it knows of the example (name, paths, user, addresses: ``prefork/init/site.py``) by ``@NAME@``
and the like, in a copy below ``prefork/init/templates``; of a file that has a template it takes over what has changed.
Then look at what it made: a line with a value that a site may lack, as ``@HAS_SOCKET@`` or ``@TCP_ALONE@``, is left out
there. A test holds that template and file agree.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from prefork.binds import parse
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


def adopt(path: Path) -> tuple[Path, bool]:
    """Make the template of the file, or bring the one there is up to date with it.

    :returns: the template, and whether its edits by hand and those of the file touch different lines; else both stand
        there, between marks as git makes them.
    """
    relative = path.resolve().relative_to(DEPLOY)
    template, values = TEMPLATES / relative, example(relative.parts[0]).values()
    new = templates.adopted(path.read_text(), values)
    if not template.exists():
        template.parent.mkdir(exist_ok=True)
        template.write_text(new)
        return template, True
    with tempfile.TemporaryDirectory() as directory:
        before, after = Path(directory) / "before", Path(directory) / "after"
        before.write_text(templates.adopted(rendered()[str(relative)], values))
        after.write_text(new)
        merged = subprocess.run(["git", "merge-file", "--quiet", template, before, after])
    return template, merged.returncode == 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["adopt"]:
        for name in sys.argv[2:]:
            template, is_clean = adopt(Path(name))
            print(template.relative_to(ROOT), "" if is_clean else "has conflicts: put them right")
    else:
        for name, text in rendered().items():
            (DEPLOY / name).parent.mkdir(parents=True, exist_ok=True)
            (DEPLOY / name).write_text(text)
            print(f"deploy/{name}")
