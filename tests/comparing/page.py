"""The page: what the runs wrote between its marks (``tests/marks.py``), and its pictures beside it.

It must not know how anything was measured. What depends on figures is said by ``prefork/lab/findings.py`` and here,
nowhere in the prose around it.
Invariant: the same comparisons give the same page, and what has no comparison keeps what it has.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from prefork.lab.comparison import Comparison, Machine
from prefork.lab.findings import findings, price_lines
from prefork.lab.pictures import pictures
from prefork.lab.tables import as_markdown, machine_line, markdown_table
from prefork.lab.winning import Standing, called, contenders, many, standing
from tests.comparing.runs import MODES, Run
from tests.marks import filled

HEADS = ("line", "workers", "clients", "rate", "p50", "p99", "errors", "cpu", "pss")
SUMMARY = "summary"


def write(page: Path, runs: Mapping[str, Run], compared: Mapping[str, Comparison]) -> None:
    """Fill the page, and put the pictures into the folder of its name. The short of it needs all runs."""
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    parts = {}
    for name, comparison in compared.items():
        drawn = pictures(comparison, runs[name].pictures)
        for picture in drawn:
            (folder / f"{name}-{picture.name}.svg").write_text(picture.svg)
        shown = [f"![{picture.title}]({folder.name}/{name}-{picture.name}.svg)" for picture in drawn]
        parts[name] = section(comparison, shown)
    if set(compared) == set(runs):
        parts[SUMMARY] = summary(list(compared.values()))
    page.write_text(filled(page.read_text(), parts))


def section(comparison: Comparison, shown: Sequence[str]) -> str:
    """What one comparison says.

    :param shown: its pictures, as Markdown.
    """
    said = [*findings(comparison), *price_lines(comparison)]
    said += [f"left out: {where}: {why}" for where, why in comparison.left_out.items()]
    parts = ["\n\n".join(shown), as_markdown(said), markdown_table(comparison, HEADS)]
    if comparison.doubts:
        parts.append("What to doubt of it:\n\n" + as_markdown([str(doubt) for doubt in comparison.doubts]))
    parts.append(f"```sh\n{comparison.command}\n```")
    return "\n\n".join(part for part in parts if part) + "\n"


def summary(compared: Sequence[Comparison]) -> str:
    """Who answers most under each workload, where each mode does, and where that was measured."""
    lines = ["| workload | few clients | many clients |", "|---|---|---|"]
    for one in compared:
        clients = sorted({cell.cell.clients for cell in one.cells})
        ends = [(number, standing(contenders(one.cells, number))) for number in (clients[0], clients[-1])]
        cells = [f"{many(number)}: {_short(found)}" for number, found in ends]
        lines.append(f"| `{one.title}` | {cells[0]} | {cells[1]} |")
    wins = as_markdown([_wins(mode, compared) for mode in MODES])
    machines = dict.fromkeys(machine_line(_anywhere(one.machine)) for one in compared)
    return "\n".join([*lines, "", wins, "", f"Measured with {'; '.join(machines)}."]) + "\n"


def _anywhere(machine: Machine) -> Machine:
    """Without what only this build of the kernel is called."""
    return replace(machine, kernel=machine.kernel.partition("-")[0])


def _short(found: Standing | None) -> str:
    if found is None:
        return "nothing was answered"
    if not found.is_told:
        return "too few rounds to tell"
    if found.is_draw:
        lines = dict.fromkeys(one.cell.line for one in (found.best, *found.level))
        return f"a draw of {', '.join(lines)}"
    lead = "" if found.lead is None or found.next is None else f", {found.lead.median:.2f} times {found.next.cell.line}"
    return f"**{called(found.best.cell)}**{lead}"


def _wins(mode: str, compared: Sequence[Comparison]) -> str:
    """Where a mode answers most, or as much as any."""
    alone: list[str] = []
    level: list[str] = []
    for one in compared:
        for clients in sorted({cell.cell.clients for cell in one.cells}):
            found = standing(contenders(one.cells, clients))
            if found is None or not found.is_told:
                continue
            if mode in {other.cell.line for other in (found.best, *found.level)}:
                (level if found.is_draw else alone).append(f"{one.title} at {many(clients)}")
    said = [f"answers most with {', '.join(alone)}"] * bool(alone)
    said += [f"as much as any with {', '.join(level)}"] * bool(level)
    return f"{mode} {'; '.join(said) or 'answers most nowhere here'}"
