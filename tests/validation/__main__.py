"""Sections of ``docs/lab.md``, made anew: ``python -m tests.validation NAME... [--write docs/lab.md]``.

A name is a file beside this one that has a ``section()``; the page has its place between two comments.
"""

import argparse
import re
from importlib import import_module
from pathlib import Path


def put(page: str, name: str, section: str) -> str:
    """The page with another text between ``<!-- NAME -->`` and ``<!-- /NAME -->``."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in page or end not in page:
        raise SystemExit(f"the page has no place for {name}: {begin} and {end} are missing")
    made = f"{begin}\n\n{section.strip()}\n\n{end}"
    return re.sub(re.escape(begin) + ".*?" + re.escape(end), lambda found: made, page, flags=re.S)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.validation", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--write", metavar="PAGE", type=Path)
    chosen = parser.parse_args()
    for name in chosen.names:
        section = import_module(f"tests.validation.{name}").section()
        print(section)
        if chosen.write is not None:
            chosen.write.write_text(put(chosen.write.read_text(), name, section))


if __name__ == "__main__":
    main()
