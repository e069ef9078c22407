"""A plan as a picture: the percentile through a failure and through a restart, and by the number of machines.

A printer: it must not decide anything. Invariant: the goal is in each of its panels.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from prefork.lab import ink
from prefork.lab.fleet_simulation import Course, Stretch
from prefork.lab.plan_text import goal_of, sentences
from prefork.lab.planning import Plan

_PANEL = 3.0  # inches
_ROOM = 1.75  # above the highest, for the names of phases
_HIGHEST = 4  # times the goal
_LINES = ((0.5, ink.GOOD, "--"), (0.999, ink.MUTED, ":"))  # beside the goal's percentile


def draw(plan: Plan) -> Figure:
    """A figure with as many panels as there is something to show."""
    courses = [("a failure", plan.failing), ("a restart of all", plan.restarting), ("growth", plan.growing)]
    shown = [(title, course) for title, course in courses if course is not None]
    goal = goal_of(plan)
    figure, axes = ink.sheet(f"{goal.name} by machines", "machines", "ms", height=_PANEL * (len(shown) + 1))
    axes.remove()
    panels = figure.subplots(len(shown) + 1, 1)
    panels = [panels] if not shown else list(panels)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
    for panel, (title, course) in zip(panels, shown, strict=False):
        _through(panel, plan, f"through {title}, simulated", course)
    _by_machines(panels[-1], plan)
    return figure


def described(plan: Plan) -> str:
    """What it shows, in words."""
    return "; ".join(sentences(plan))


def _through(axes: Axes, plan: Plan, title: str, course: Course) -> None:
    goal = goal_of(plan)
    axes.set(title=title, xlabel="simulated seconds; long phases are cut short", ylabel="ms")
    _line(axes, course.bins, plan.wish.q, goal.name, color=ink.ACCENT)
    for share, colour, dashes in _LINES:
        if share != plan.wish.q:
            _line(axes, course.bins, share, f"p{share * 100:g}".replace(".", ""), color=colour, linestyle=dashes)
    highest = max(filter(None, (value for one in course.bins for value in one.percentiles.values())), default=0.0)
    top = 1000 * _ROOM * max(highest, goal.seconds)
    axes.set_ylim(0, top)
    ends = [one.at for one in course.bins]
    for number, phase in enumerate(course.phases):
        at = next(one.at for one in course.bins if one.phase == phase.name)
        axes.axvline(at, color=ink.MUTED, linewidth=0.8, linestyle=":")
        errors = next(one.errors for one in course.seen if one.phase == phase.name)
        lost = f", {errors} errors" if errors else ""
        height = 0.985 - 0.075 * number  # none over another
        axes.text(at + 0.005 * ends[-1], height * top, phase.name + lost, va="top", fontsize=8)
    _goal(axes, plan)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)


def _line(axes: Axes, bins: Sequence[Stretch], share: float, name: str, **look: Any) -> None:
    known = [(one.at + one.seconds / 2, one.percentiles[share]) for one in bins]
    points = [(at, 1000 * seconds) for at, seconds in known if seconds is not None]
    axes.plot([at for at, _ in points], [value for _, value in points], linewidth=1.6, label=name, **look)


def _by_machines(axes: Axes, plan: Plan) -> None:
    goal = goal_of(plan)
    axes.set(title=f"{goal.name} by the number of machines, by the formula", xlabel="machines", ylabel="ms")
    axes.plot([n for n, _ in plan.curve], [1000 * s for _, s in plan.curve], color=ink.ACCENT, marker=".")
    option = plan.option
    if option is not None:
        takes = dict(plan.curve)
        for count, colour, mark, name in (
            (option.needed, ink.BAD, "s", "meet it"),
            (option.machines, ink.GOOD, "D", "to have"),
        ):
            if count in takes:
                axes.plot([count], [1000 * takes[count]], mark, color=colour, label=f"{count} {name}")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    slowest = max((seconds for _, seconds in plan.curve), default=0.0)
    axes.set_ylim(0, 1100 * max(goal.seconds, min(slowest, _HIGHEST * goal.seconds)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _goal(axes, plan)


def _goal(axes: Axes, plan: Plan) -> None:
    goal = goal_of(plan)
    axes.axhline(1000 * goal.seconds, color=ink.BAD, linewidth=1, linestyle="--")
    axes.annotate(f"goal {goal}", (0.01, 1000 * goal.seconds), xycoords=("axes fraction", "data"),
                  xytext=(0, 3), textcoords="offset points", color=ink.BAD, fontsize=8)  # fmt: skip
