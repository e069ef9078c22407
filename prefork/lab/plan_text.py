"""A plan in words: sentences that say what to run and why, tables of the sizes and of the situations, and the doubts.

A printer: it must not decide anything. Invariant: a figure by the formula and one by the simulation are told apart.
"""

import math
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from prefork.lab.goals import Goal
from prefork.lab.planning import Option, Plan, Situation
from prefork.report.units import age, latency, rate, share, size

_SOON = 10.0  # seconds

_SOURCES = {
    "measured": "as prefork tune measured it",
    "live": "as it was watched live",
    "paper": "on paper, with nothing measured",
}


def sentences(plan: Plan) -> list[str]:
    """What to run, why, and what to expect; the first says it all."""
    return list(_sentences(plan))


def goal_of(plan: Plan) -> Goal:
    return Goal(plan.wish.q, plan.wish.goal)


def _sentences(plan: Plan) -> Iterator[str]:
    option, wish, goal = plan.option, plan.wish, goal_of(plan)
    if option is None:
        reasons = "; ".join(f"{_named(one)}: {one.why_not}" for one in plan.options)
        yield f"no number of these machines answers {rate(wish.rate)} within {goal} ({reasons})"
        return
    workers = _many(option.workers, "worker")
    yield (
        f"run {workers} on each of {_many(option.machines, 'machine')} of {_named(option)}, for {rate(wish.rate)} with"
        f" {goal.name} within {latency(wish.goal)}"
    )
    yield _why_so_many(plan, option)
    if others := _other_workers(option):
        yield f"{workers} a machine: {others}"
    if others := _other_sizes(plan, option):
        yield f"{_named(option)} a machine: {others}"
    usual, *others_then = plan.situations
    yield f"with all there {_takes(usual, goal)}, and each has {share(usual.load)} of the load it can bear"
    for situation in others_then:
        yield _changed(plan, situation, goal)
    if option.needed > 1:
        yield _below(plan, option)


def _why_so_many(plan: Plan, option: Option) -> str:
    wish = plan.wish
    reasons = [f"{option.needed} just {'meets' if option.needed == 1 else 'meet'} the goal"]
    if away := wish.away(option.machines):
        reasons.append(f"{away} may be away, be it lost or restarting")
    if option.machines > option.needed + away:
        reasons.append(f"with all there none is to bear more than {share(wish.utilisation)} of what it can")
    return f"{_many(option.machines, 'machine')}: {', '.join(reasons)}"


def _other_workers(option: Option) -> str:
    """What it would take with the next fewer and the next more."""
    fewer = [workers for workers in option.others if workers < option.workers]
    more = [workers for workers in option.others if workers > option.workers]
    told = [f"with {one} it would take {_machines(option.others[one])}" for one in (*fewer[-1:], *more[:1])]
    if not more:
        told.append("no more are considered, by memory, by the peak of throughput or by what was seen")
    return ", ".join(told)


def _other_sizes(plan: Plan, option: Option) -> str:
    others = [one for one in plan.options if one is not option]
    if not others:
        return ""
    told = [f"{_named(one)}: {one.why_not or _cost(one)}" for one in others]
    return f"{_cost(option)} in all, the least ({'; '.join(told)})"


def _cost(option: Option) -> str:
    cpus = f"{option.machines * option.machine.cpus:g} CPUs in {_many(option.machines, 'machine')}"
    return cpus if option.machine.price is None else f"{option.machine.price * option.machines:g} for {cpus}"


def _takes(situation: Situation, goal: Goal) -> str:
    formula = latency(situation.formula) if situation.formula < math.inf else "ever more"
    return f"{goal.name} is {formula} by the formula, {latency(situation.simulated)} simulated"


def _changed(plan: Plan, situation: Situation, goal: Goal) -> str:
    if situation.seconds is None:
        return f"{situation.name}, at {rate(situation.rate)}: {_takes(situation, goal)}"
    if situation.is_unnoticed:
        lost = _many(situation.errors, "request")
        return f"{situation.name}: about {lost} fail in the {_lasting(situation.seconds)} until the balancer notices"
    away = plan.situations[0].machines - situation.machines
    batches = math.ceil(plan.situations[0].machines / away)
    one = f"{_many(away, 'machine')} {'restarts' if away == 1 else 'restart'}"
    return f"a restart of all takes {_lasting(batches * situation.seconds)}; while {one}, {_takes(situation, goal)}"


def _below(plan: Plan, option: Option) -> str:
    missed = dict(plan.curve).get(option.needed - 1)
    told = f"{option.needed - 1} would take {latency(missed)}" if missed is not None else "fewer cannot keep up"
    return f"below {_many(option.needed, 'machine')} the goal is missed: {told}"


def _lasting(seconds: float) -> str:
    """A second or a day; an age has no less than hundredths of a second."""
    return latency(seconds) if seconds < _SOON else age(seconds)


def _named(option: Option) -> str:
    machine = option.machine
    return f"{machine.cpus:g} CPUs and {size(machine.memory)}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _machines(count: int | None) -> str:
    return "more than there may be" if count is None else _many(count, "machine")


def terminal(plan: Plan) -> RenderableType:
    """All of it, for a terminal."""
    first, *others = sentences(plan)
    parts: list[RenderableType] = [Text(first, style="bold"), *(Text(f"- {one}") for one in others)]
    parts += [Text(), _sizes(plan)]
    if plan.situations:
        parts += [Text(), _situations(plan)]
    parts += [Text(), Text(f"the service: {plan.target}, {_SOURCES[plan.source]}; {_modelled(plan)}")]
    if plan.doubts:
        parts += [Text(), Text("doubts:"), *(Text(f"- {doubt}", style="yellow") for doubt in plan.doubts)]
    parts += [Text(), Text("left out of the model:"), *(Text(f"- {one}", style="dim") for one in plan.left_out)]
    return Group(*parts)


def _modelled(plan: Plan) -> str:
    how = "each request goes to a machine at random" if plan.wish.balancer == "random" else "machines take turns"
    return f"{how}, and waits there for a worker"


def _sizes(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("machine", "workers", "memory", "most it can do", "at the goal", "meet it", "to have", "in all"):
        table.add_column(name, justify="left" if name == "machine" else "right")
    for number, option in enumerate(plan.options):
        if option.why_not:
            table.add_row(_named(option), *["-"] * 7)
            continue
        table.add_row(
            _named(option),
            str(option.workers),
            size(option.memory),
            rate(option.capacity),
            rate(option.goal_rate),
            str(option.needed),
            str(option.machines),
            f"{option.machines * option.machine.cpus:g} CPUs",
            style="bold" if number == plan.chosen and len(plan.options) > 1 else None,
        )
    return table


def _situations(plan: Plan) -> Table:
    name = goal_of(plan).name
    table = Table(box=None, pad_edge=False)
    for column in ("when", "machines", "rate", "load", f"{name} by formula", f"{name} simulated", "errors"):
        table.add_column(column, justify="left" if column == "when" else "right")
    for one in plan.situations:
        formula = latency(one.formula) if one.formula < math.inf else "-"
        figures = (str(one.machines), rate(one.rate), share(one.load), formula, latency(one.simulated))
        table.add_row(one.name, *figures, str(one.errors))
    return table
