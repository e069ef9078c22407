"""What all pictures share: their size, fonts, colours, and how one becomes SVG or PNG.

Matplotlib without pyplot: no window, no global state. It must not know what is drawn.
Invariant: the same figure gives the same bytes, and its text is text: it can be searched, selected and read aloud.
"""

from io import BytesIO, StringIO

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
    "bare": "#666666",
    "stdlib-sync": "#999999",
    "stdlib-thread": "#E69F00",
    "stdlib-fork": "#8DB600",
}
"""By the line of a comparison."""
ACCENT, MUTED, GOOD, BAD = "#0072B2", "#888888", "#009E73", "#D55E00"
WIDTH, HEIGHT = 8.0, 4.2  # inches
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "prefork",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
}


def sheet(title: str, x: str, y: str, *, width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, in the style of all.

    :param width: in inches, as ``height``.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot(title=title, xlabel=x, ylabel=y)
    return figure, axes


def as_svg(figure: Figure, description: str) -> str:
    """The picture as an ``<svg>`` element that says what it shows to those who cannot see it."""
    out = StringIO()
    with matplotlib.rc_context(_STYLE):
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Description": description})
    return out.getvalue()


def as_png(figure: Figure) -> bytes:
    out = BytesIO()
    with matplotlib.rc_context(_STYLE):
        FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()
