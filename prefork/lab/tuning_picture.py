"""A tuning as a picture: throughput by worker count with the fitted law, and latency below it.

It must not know how anything was found. Invariant: every round is a point of its own.
Read next: ``ink.py``, what all pictures share.
"""

from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from prefork.lab import advice, ink
from prefork.lab.tuning import Trial, Tuning, by_workers, rates
from prefork.report.units import rate, size


def draw(tuning: Tuning) -> Figure:
    figure, above = ink.sheet(f"{tuning.title}: how many workers?", "", "requests a second", height=6.4)
    above.set_position((0.1, 0.45, 0.86, 0.48))
    figure.set_layout_engine("none")
    below = figure.add_axes((0.1, 0.09, 0.86, 0.28), sharex=above, xlabel="workers", ylabel="latency, ms", yscale="log")
    below.grid(alpha=0.25)
    below.yaxis.set_major_formatter("{x:g}")
    below.yaxis.set_minor_formatter("{x:g}")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    below.spines[["top", "right"]].set_visible(False)
    _throughput(above, tuning)
    _latency(below, tuning)
    return figure


def describe(tuning: Tuning) -> str:
    """The same for those who do not see it."""
    points = ", ".join(f"{n}: {rate(median(found))}" for n, found in sorted(rates(tuning.sweep).items()))
    chosen = "none was chosen" if tuning.choice is None else f"{tuning.choice.workers} were chosen"
    return f"Throughput by worker count, {points}; {chosen}."


def _throughput(axes: Axes, tuning: Tuning) -> None:
    if tuning.law is not None:
        counts = [band.workers for band in tuning.law.band]
        lows, highs = [band.low for band in tuning.law.band], [band.high for band in tuning.law.band]
        axes.fill_between(counts, lows, highs, color=ink.ACCENT, alpha=0.15, linewidth=0, label="95 % of the fit")
        axes.plot(counts, [band.rate for band in tuning.law.band], color=ink.ACCENT, label="fitted law")
    for trials, marker, label in ((tuning.sweep, "o", "rounds"), (tuning.last_runs, "x", "last run")):
        full = [one for one in trials if one.asked is None]
        if full:
            x, y = [one.workers for one in full], [one.rate for one in full]
            axes.plot(x, y, marker, color=ink.MUTED if marker == "o" else ink.BAD, label=label)
    if tuning.rate is not None:
        axes.axhline(tuning.rate, color=ink.MUTED, linestyle=":", label=f"asked: {rate(tuning.rate)}")
    if tuning.choice is not None:
        axes.axvline(tuning.choice.workers, color=ink.GOOD, linestyle="--", label=f"{tuning.choice.workers} workers")
    largest = max((one.workers for one in tuning.sweep), default=1)
    fitting = advice.fitting(tuning.weight, tuning.limits.memory)
    if fitting <= 1.5 * largest:
        axes.axvline(fitting, color=ink.BAD, linestyle=":", label=f"memory: {size(tuning.limits.memory)}")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.legend(frameon=False)


def _latency(axes: Axes, tuning: Tuning) -> None:
    goal_runs = [one for one in tuning.goal_runs + tuning.last_runs if one.asked is not None]
    for name, marker, colour in (("p50", "o", ink.ACCENT), ("p99", "s", ink.BAD)):
        for trials, style, label in ((tuning.sweep, "-", f"{name}, full load"), (goal_runs, "--", f"{name}, as asked")):
            points = _percentiles(trials, name)
            if points:
                axes.plot(*zip(*points, strict=True), style, marker=marker, color=colour, markersize=4, label=label)
    for goal in tuning.goals:
        axes.axhline(1000 * goal.seconds, color=ink.MUTED, linestyle=":", label=str(goal))
    if tuning.choice is not None:
        axes.axvline(tuning.choice.workers, color=ink.GOOD, linestyle="--")
    axes.legend(frameon=False, fontsize=8)


def _percentiles(trials: list[Trial], name: str) -> list[tuple[int, float]]:
    """Milliseconds by worker count, medians of rounds."""
    found = []
    for workers, rounds in by_workers(trials).items():
        known = [1000 * getattr(one.latency, name) for one in rounds if one.latency is not None]
        if known:
            found.append((workers, median(known)))
    return found
