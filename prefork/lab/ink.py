"""What all pictures share: their size, fonts, colours, and how one becomes SVG or PNG.

Matplotlib without pyplot: no window, no global state. It must not know what is drawn.
An SVG stands on a ground of its own, and both ground and ink follow what the reader's system prefers, light or dark;
so it can be read on any page, within it or as a file. Lines are told apart by their marks as well as their colours.
Invariant: the same figure gives the same bytes, and its text is text: it can be searched, selected and read aloud.
"""

import re
from collections.abc import Sequence
from html import escape
from io import BytesIO, StringIO
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by those who see colours otherwise; see jfly.uni-koeln.de/color
COLOURS = {
    "prefork": "#0072B2",
    "sync": "#56B4E9",
    "thread": "#D55E00",
    "fork": "#009E73",
    "hybrid": "#CC79A7",
    "bare": "#777777",
    "stdlib-sync": "#999999",
    "stdlib-thread": "#E69F00",
    "stdlib-fork": "#8DB600",
}
"""By the line of a comparison."""
MARKS = {
    "prefork": "o",
    "sync": "s",
    "thread": "^",
    "fork": "D",
    "hybrid": "P",
    "bare": "x",
    "stdlib-sync": "1",
    "stdlib-thread": "2",
    "stdlib-fork": "3",
}
"""Likewise."""
ACCENT, MUTED, GOOD, BAD = "#0072B2", "#888888", "#009E73", "#D55E00"
WIDTH, HEIGHT = 8.0, 4.2  # inches
INK = "#1c2322"  # becomes whatever stands out from the ground
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "prefork",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "grid.color": MUTED,
    "grid.alpha": 0.25,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "xtick.color": INK,
    "ytick.color": INK,
}
_LOOK = (
    "<style>.ink{color:#1c2322;background:#fff}"
    ".ink text{fill:currentColor;font-family:'DejaVu Sans',Verdana,sans-serif}.ink *{stroke-linejoin:round}"
    "@media (prefers-color-scheme:dark){.ink{color:#e4e9ea;background:#1a2126}}</style>"
)
_INKS = (INK, "#000000")  # the second is matplotlib's, in what was drawn without the style
_NAMED = re.compile(r'(\bid="|href="#|url\(#)')
_COORDINATE = re.compile(r"-?\d+\.\d{3,}")
_SPARED = re.compile(r" font-family: [^;\"]*;| <defs>\n  <style[^>]*>[^<]*</style>\n </defs>\n")  # said once, in _LOOK
_PATH = re.compile(r' d="[^"]*"')


class Picture(NamedTuple):
    """A figure with what it shows in words.

    :param name: for files and identifiers: ``throughput``.
    :param title: for a caption.
    :param description: for those who cannot see it.
    """

    name: str
    title: str
    figure: Figure
    description: str

    @property
    def svg(self) -> str:
        return as_svg(self.figure, self.description, self.name)


def sheet(title: str, x: str, y: str, *, width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, in the style of all.

    :param width: in inches, as ``height``.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot(title=title, xlabel=x, ylabel=y)
    return figure, axes


def panels(title: str, names: Sequence[str], x: str, y: str, *, columns: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure with several pairs of axes, side by side, that share their scales: small multiples.

    :param names: of the panels.
    """
    columns = min(columns, len(names)) or 1
    lines = -(-len(names) // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 2.6 * lines), layout="constrained")
        figure.suptitle(title, fontsize=11)
        drawn: list[Axes] = []
        for number, name in enumerate(names):
            shared = {"sharex": drawn[0], "sharey": drawn[0]} if drawn else {}
            axes = figure.add_subplot(lines, columns, number + 1, title=name, xlabel=x, **shared)
            axes.set_ylabel(y if number % columns == 0 else "")
            axes.tick_params(labelleft=number % columns == 0)
            drawn.append(axes)
    return figure, drawn


def as_svg(figure: Figure, description: str, name: str = "picture") -> str:
    """The picture as an ``<svg>`` element that says what it shows to those who cannot see it.

    :param name: unlike those of other pictures on the same page: identifiers begin with it.
    """
    _dress(figure)
    out = StringIO()
    with matplotlib.rc_context(_STYLE):
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    for ink in _INKS:
        text = text.replace(ink, "currentColor")
    text = _SPARED.sub("", text)
    text = _NAMED.sub(rf"\g<1>{name}-", text)
    text = _PATH.sub(lambda path: _COORDINATE.sub(lambda number: f"{float(number[0]):.2f}", path[0]), text)
    head = f'<svg class="ink" role="img" aria-label="{escape(description)}" '
    return text.replace("<svg ", head, 1).replace(">\n", f">\n{_LOOK}\n", 1)


def as_png(figure: Figure) -> bytes:
    """The picture on white."""
    figure.patch.set_visible(True)
    out = BytesIO()
    with matplotlib.rc_context(_STYLE):
        FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()


def _dress(figure: Figure) -> None:
    """What is drawn has no ground of its own, whoever drew it."""
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    for legend in (*figure.legends, *(axes.get_legend() for axes in figure.axes)):
        if legend is not None:
            legend.set_frame_on(False)
