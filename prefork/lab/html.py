"""A comparison as one page of HTML that needs nothing else: no network, no files beside it, and no script to be read.

It must not know how anything was measured or judged. The page itself is ``report.html.j2``.
Invariants: what a target, an error or a command is called goes in as text, never as markup; the same comparison gives
the same page.
Read next: ``report.html.j2``; ``columns.py``, ``pictures.py`` and ``findings.py``, what is on it.
"""

from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from prefork.lab.columns import BEST, COLUMNS, LEGEND, Column, Row, rows
from prefork.lab.comparison import Comparison, Measurement
from prefork.lab.findings import findings, price_lines
from prefork.lab.ink import Picture
from prefork.lab.pictures import pictures
from prefork.lab.tables import machine_line
from prefork.lab.winning import called, many
from prefork.report import units

_TEMPLATE = Path(__file__).with_name("report.html.j2")


def page(comparison: Comparison) -> str:
    """The whole page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"called": called, "many": many, "units": units, "sort_key": _sort_key}
    environment.filters |= {"sentence": _sentence, "svg": _svg, "plain": units.plain, "total": _total}
    return environment.from_string(_TEMPLATE.read_text()).render(
        made=comparison,
        machine=machine_line(comparison.machine),
        findings=findings(comparison),
        prices=price_lines(comparison),
        pictures=pictures(comparison),
        columns=COLUMNS,
        groups=rows(comparison),
        best=BEST,
        legend=LEGEND,
    )


def _sentence(text: str) -> str:
    """With a capital and a full stop, as prose has them."""
    text = units.plain(text.strip())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _svg(picture: Picture) -> Markup:
    """Made by us: every text in it was escaped when it was drawn."""
    return Markup(picture.svg)


def _total(one: Measurement) -> str:
    """Errors of a round, with their kinds."""
    told = ", ".join(f"{count} {units.plain(kind)}" for kind, count in one.errors.items() if count)
    return told or "0"


def _sort_key(column: Column, row: Row) -> str:
    """What a column is sorted by; what is not known comes last."""
    value = column.value(row.result)
    return "" if value is None else str(value)
