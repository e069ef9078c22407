"""What mkdocs asks while it builds the site; see ``.mkdocs.yml``.

It must not know what a page says. Invariant: nothing is built that lies neither in ``docs/`` nor behind a link.
Read next: ``shelves.py``, ``outside.py``.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from tests.site import outside, shelves

THEME = Path(__file__).parent / "theme"
_CODE = re.compile(r"(?<=<code>)[^<]+(?=</code>)")  # in a sentence or a cell; blocks have tags inside
_BREAK = re.compile(r"(?<=[_/])(?=\w)|(?<=py)(?=::)")
_PLACES = {"extra.css": "site/extra.css", "iframe-worker.js": "site/iframe-worker.js", "prefork.svg": "prefork.svg"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Which page stands where."""
    config.nav = [{"prefork": outside.uri_of(outside.HOME)}, *shelves.nav(_readme())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """What is not in ``docs/``: the front page, sources that pages lead to, our own style."""
    on_shelves = {outside.HOME, *(path for shelf in shelves.shelves(_readme()) for path in shelf.pages.values())}
    for path in sorted(outside.linked()):
        inclusion = InclusionLevel.INCLUDED if path in on_shelves else InclusionLevel.NOT_IN_NAV
        content = outside.page_of(path)
        files.append(File.generated(config, outside.uri_of(path), content=content, inclusion=inclusion))
    for name, uri in _PLACES.items():
        files.append(File.generated(config, uri, abs_src_path=str(THEME / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links that leave ``docs/`` lead to the pages of what they name."""
    if page.file.generated_by:
        return markdown
    return outside.rewritten(markdown, f"docs/{page.file.src_uri}")


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Long names may be broken where a reader would."""
    return _CODE.sub(lambda code: _BREAK.sub("<wbr>", code[0]), output)


def _readme() -> str:
    return (shelves.ROOT / outside.HOME).read_text()
