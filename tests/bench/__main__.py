"""``python -m tests.bench [NAME ...]``: measure, print the table, and write it into a page if asked."""

import argparse
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import FIGURES
from tests.bench.measure import Options, Row

BEGIN, END = "<!-- make bench writes from here -->\n", "<!-- to here -->\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of a figure: {', '.join(FIGURES)}; none means all")
    parser.add_argument("--rounds", type=int, default=25, help="of each comparison")
    parser.add_argument("--requests", type=int, default=1000, help="to each server in each round")
    parser.add_argument("--write", type=Path, help="a Markdown page that has a place for the tables")
    options = parser.parse_args()
    if unknown := set(options.names) - set(FIGURES):
        parser.error(f"there is no figure {', '.join(unknown)}; the figures are {', '.join(FIGURES)}")
    tables = {}
    for name in options.names or FIGURES:
        print(name, file=sys.stderr)
        tables[name] = FIGURES[name](Options(options.rounds, options.requests))
        print("\n".join(table(name, tables[name])), flush=True)
    if options.write:
        write(options.write, tables)


def table(name: str, rows: list[Row]) -> Iterator[str]:
    yield f"### `{name}`: {FIGURES[name].__doc__}"
    yield ""
    yield "| | measured | promised | |"
    yield "|---|---|---|---|"
    for what, value, promise, is_kept in rows:
        yield f"| {what} | {value} | {promise} | {'' if not promise else 'kept' if is_kept else '**not kept**'} |"
    yield ""


def write(page: Path, tables: dict[str, list[Row]]) -> None:
    """Put the tables where the page has its place for them; those that were not measured stay."""
    before, begin, rest = page.read_text().partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{page} has no place for the tables: write the lines {BEGIN.strip()!r} and {END.strip()!r}")
    written = {part.split("`")[1]: f"### {part}" for part in old.split("### ")[1:]}
    for name, rows in tables.items():
        written[name] = "\n".join(table(name, rows)) + "\n"
    kernel = platform.release().partition("-")[0]
    head = f"Linux {kernel}, {platform.python_implementation()} {platform.python_version()}.\n\n"
    page.write_text(before + begin + "\n" + head + "".join(written[n] for n in FIGURES if n in written) + end + after)


if __name__ == "__main__":
    main()
