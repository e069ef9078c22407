"""What lies outside ``docs/`` and is linked from there: on the site each such file is a page of its own.

On GitHub a link to ``../tests/end_to_end/test_dying.py`` shows that file. A site has ``docs/`` alone, so it shows the
source as a page, and where the link names a test, the line where that begins.
It must not know mkdocs. Invariant: a link that leads to a file on GitHub leads to the same text on the site.
Read next: ``hook.py``.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tests.site.shelves import DOCS, ROOT

HOME = "README.md"
_LINK = re.compile(r"(?P<text>\[(?:!\[[^\]]*\]\([^)]*\)|[^\]])*\])\((?P<target>[^)\s]+)\)")
_FENCED = re.compile(r"(^[ ]*```.*?^[ ]*```$)", re.DOTALL | re.MULTILINE)
_LEXERS = {
    ".py": "python",
    ".toml": "toml",
    ".service": "ini",
    ".socket": "ini",
    ".yml": "yaml",
    ".yaml": "yaml",
    ".json": "json",
    ".conf": "nginx",
}
_RAIL = "~" * 8  # no source has a line of these


def uri_of(path: str) -> str:
    """Where the site has a file of the project.

    :param path: from the top of the project.
    """
    if path == HOME:
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"source/{path}" if path.endswith(".md") else f"source/{path}.md"


def linked() -> set[str]:
    """The files outside ``docs/`` that pages lead to, and those that these lead to."""
    found = {HOME}
    waiting = [HOME, *(str(page.relative_to(ROOT)) for page in DOCS.rglob("*.md"))]
    while waiting:
        page = waiting.pop()
        new = {path for path in _led_to(page) if not path.startswith("docs/")} - found
        found |= new
        waiting += new
    return found


def page_of(path: str) -> str:
    """The Markdown of its page, with links as they lead there: its own, or its source, or what is in that directory."""
    place = ROOT / path
    if path.endswith(".md"):
        return rewritten(place.read_text(), path)
    if place.is_dir():
        listed = "".join(f"- [{entry.name}]({place.name}/{entry.name})\n" for entry in _entries(path))
        return _hidden(path) + rewritten(listed, path)
    language = _LEXERS.get(place.suffix, "text")
    return f'{_hidden(path)}{_RAIL} {{ .{language} linenums="1" }}\n{place.read_text()}{_RAIL}\n'


def rewritten(markdown: str, path: str) -> str:
    """With links as they lead on the site.

    :param path: of the page, from the top of the project.
    """
    here = os.path.dirname(uri_of(path))

    def lead(link: re.Match[str]) -> str:
        target, hash_sign, fragment = link["target"].partition("#")
        to = _resolved(path, target)
        if to is None:
            return link[0]
        line = _line_of(to, link["text"])
        anchor = f"#__codelineno-0-{line}" if line else hash_sign + fragment
        text = rewritten(link["text"], path) if "](" in link["text"] else link["text"]
        return f"{text}({os.path.relpath(uri_of(to), here or '.')}{anchor})"

    parts = _FENCED.split(markdown)
    return "".join(part if number % 2 else _LINK.sub(lead, part) for number, part in enumerate(parts))


def _led_to(path: str) -> Iterator[str]:
    if (ROOT / path).is_dir():
        yield from (os.path.join(path, entry.name) for entry in _entries(path))
    if not path.endswith(".md"):
        return
    for part in _FENCED.split((ROOT / path).read_text())[::2]:
        targets = (link["target"].partition("#")[0] for link in _LINK.finditer(part))
        yield from (to for target in targets if (to := _resolved(path, target)) is not None)


def _resolved(path: str, target: str) -> str | None:
    """A target from the top of the project; nothing where it is none of its files, but an address or an anchor."""
    if not target or ":" in target:
        return None
    to = os.path.normpath(os.path.join(os.path.dirname(path), target))
    return to if (ROOT / to).exists() else None


def _line_of(path: str, text: str) -> int | None:
    """Where the test begins that the text of a link names."""
    name = re.search(r"::(\w+)", text)
    if name is None or not path.endswith(".py"):
        return None
    lines = (ROOT / path).read_text().splitlines()
    return next((n for n, line in enumerate(lines, 1) if line.startswith(f"def {name[1]}(")), None)


def _entries(path: str) -> list[Path]:
    """What a directory shows."""
    return sorted(entry for entry in (ROOT / path).iterdir() if not entry.name.startswith(("_", ".")))


def _hidden(path: str) -> str:
    """The head of a page that searches leave out: who looks for a word means the prose."""
    return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n"
