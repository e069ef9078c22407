"""``python -m tests.comparing [NAME ...] [--write docs/comparing.md]``: measure, keep, and write what came of it."""

import argparse
import subprocess
import sys
from pathlib import Path

import msgspec

from prefork.lab.comparison import Comparison
from tests.comparing import page
from tests.comparing.runs import RUNS, Run
from tests.end_to_end.harness import ROOT
from tests.end_to_end.network import own_network


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.comparing", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of a comparison: {', '.join(RUNS)}; none means all")
    parser.add_argument("--saved", type=Path, default=ROOT / "build" / "comparing", help="where comparisons are kept")
    parser.add_argument("--render", action="store_true", help="measure nothing, go by what was kept")
    parser.add_argument("--write", type=Path, help="a Markdown page that has places for them")
    options = parser.parse_args()
    if unknown := set(options.names) - set(RUNS):
        parser.error(f"there is no comparison {', '.join(unknown)}; the comparisons are {', '.join(RUNS)}")
    options.saved.mkdir(parents=True, exist_ok=True)
    if not options.render:
        with own_network():
            for name in options.names or RUNS:
                print(name, file=sys.stderr, flush=True)
                measure(RUNS[name], options.saved / f"{name}.json")
    if options.write:
        compared = kept(options.saved)
        if not compared:
            sys.exit(f"{options.saved} has no comparison; leave --render out to measure them")
        page.write(options.write, RUNS, compared)


def measure(run: Run, file: Path) -> None:
    """By the command that the page names."""
    command = [sys.executable, "-m", "prefork", *run.arguments, "--json", str(file)]
    if subprocess.run(command, cwd=ROOT).returncode:
        sys.exit(f"{run.name} could not be measured; see above")


def kept(directory: Path) -> dict[str, Comparison]:
    """By name, in the order of the page."""
    files = {name: directory / f"{name}.json" for name in RUNS}
    decode = msgspec.json.Decoder(Comparison).decode
    return {name: decode(file.read_bytes()) for name, file in files.items() if file.exists()}


if __name__ == "__main__":
    main()
