"""A plan: which machines, how many, with how many workers, and how they fare while some are away.

Pure: a profile and a wish in, a record out. It must not know files, nor how the record is printed.
Invariant: what the formula says is said beside what the simulation says, of the same moment.
Read next: ``sizing.py`` chooses, ``fleet_simulation.py`` tries; ``plan_text.py`` and ``fleet_picture.py`` print.
"""

import math
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from prefork.lab import fleet_simulation
from prefork.lab.doubts import Doubt
from prefork.lab.fleet import MOST_PLACES, Fleet, Machine, Service
from prefork.lab.fleet_simulation import Course, Phase
from prefork.lab.sizing import Size, Wish, sized
from prefork.report.units import latency

APART = 0.15  # formula and simulation differ by more than that: a doubt
NEARLY_FULL = 0.9
_PICTURED = 40  # numbers of machines in the curve of machines against the percentile

LEFT_OUT = (
    "failures that come together: a rack, a switch, a zone, a bad deploy on all of them",
    "caches that are cold after a restart, in the machine and behind it",
    "the network, and what the balancer itself takes, queues or limits",
    "balancing better than asked (least connections) or worse (kept connections that stick to a machine)",
    "clients that give up, and clients that try again: a herd makes an overload last",
    "what is behind the service: databases and services that slow down with the whole fleet's load",
    "neighbours on the same hardware, CPUs of another kind, and clocks that turn down when many are busy",
    "arrivals that change within seconds, unlike the profile's",
    "memory that grows with age or load",
)


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One size of machine.

    :param why_not: why no number of them is enough; the figures are 0 then.
    :param capacity: requests a second of a machine whose workers are all busy.
    :param goal_rate: requests a second that one of these machines takes and meets the goal.
    :param needed: machines that just meet the goal.
    :param machines: to have.
    :param memory: bytes that the service takes on one.
    :param others: machines it would take with other numbers of workers.
    """

    machine: Machine
    why_not: str = ""
    workers: int = 0
    most_workers: int = 0
    capacity: float = 0.0
    goal_rate: float = 0.0
    needed: int = 0
    machines: int = 0
    memory: int = 0
    others: dict[int, int | None] = {}


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """How the machines fare at one time.

    :param machines: that are there.
    :param load: of the most they can do.
    :param formula: seconds, at the goal's percentile; ``inf`` where they cannot keep up.
    :param simulated: the same, by chance; ``None`` where nothing was answered.
    :param errors: requests that are lost in all of it.
    :param is_unnoticed: some are dead, and the balancer does not know.
    :param seconds: that it lasts; ``None`` until further notice.
    """

    name: str
    machines: int
    rate: float
    load: float
    formula: float
    simulated: float | None
    errors: int
    is_unnoticed: bool
    seconds: float | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """See above.

    :param source: of what is known about the service: ``measured``, ``live`` or ``paper``.
    :param today: requests a second, before they grow to ``wish.rate``.
    :param chosen: of the options; ``None`` where none is enough.
    :param curve: machines, and seconds at the goal's percentile by the formula.
    :param failing: the course through a failure; likewise through a restart of all, and a growth of the rate.
    """

    target: str
    source: str
    wish: Wish
    today: float
    options: list[Option]
    chosen: int | None
    situations: list[Situation]
    curve: list[tuple[int, float]]
    failing: Course | None
    restarting: Course | None
    growing: Course | None
    restart_seconds: float
    doubts: list[Doubt]
    left_out: tuple[str, ...] = LEFT_OUT

    @property
    def option(self) -> Option | None:
        return None if self.chosen is None else self.options[self.chosen]


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """How long things take, in seconds.

    :param detect: until the balancer notices that a machine is gone.
    :param restart: that one batch is away, from its draining to its first reply.
    """

    detect: float
    restart: float


def make(
    service: Service,
    machines: Sequence[Machine],
    wish: Wish,
    moments: Moments,
    *,
    target: str,
    source: str,
    today: float,
    doubts: Sequence[Doubt] = (),
    seed: int = 1,
) -> Plan:
    """The plan, simulated too.

    :param doubts: of what is known about the service.
    """
    sizes = [sized(service, machine, wish) for machine in machines]
    options = [_option(machine, size, wish) for machine, size in zip(machines, sizes, strict=True)]
    enough = [(size.cost, number) for number, size in enumerate(sizes) if isinstance(size, Size)]
    chosen = min(enough)[1] if enough else None
    size = sizes[chosen] if chosen is not None else None
    plan = Plan(
        target=target,
        source=source,
        wish=wish,
        today=today,
        options=options,
        chosen=chosen,
        situations=[],
        curve=[],
        failing=None,
        restarting=None,
        growing=None,
        restart_seconds=moments.restart,
        doubts=list(doubts),
    )
    return _tried(plan, size, moments, seed) if isinstance(size, Size) else plan


def _option(machine: Machine, size: Size | str, wish: Wish) -> Option:
    if isinstance(size, str):
        return Option(machine=machine, why_not=size)
    fleet = size.fleet
    return Option(
        machine=machine,
        workers=fleet.workers,
        most_workers=size.most_workers,
        capacity=fleet.capacity,
        goal_rate=fleet.most_rate(size.machines, wish.q, wish.goal) / size.machines,
        needed=size.needed,
        machines=size.machines,
        memory=size.memory,
        others=size.others,
    )


def _tried(plan: Plan, size: Size, moments: Moments, seed: int) -> Plan:
    """With its situations, its courses, and its doubts."""
    fleet, wish, machines = size.fleet, plan.wish, size.machines
    lost, away = min(wish.spare, machines - 1), min(wish.restarting(machines), machines - 1)

    def course(phases: Sequence[Phase]) -> Course:
        return fleet_simulation.simulate(fleet, machines, phases, wish.q, seed)

    failing = course(fleet_simulation.failure(lost, wish.rate, moments.detect)) if lost else None
    restarting = course(fleet_simulation.restart(machines, away, wish.rate, moments.restart)) if away else None
    growing = course(fleet_simulation.growth(plan.today, wish.rate)) if plan.today < wish.rate else None
    usual = failing or restarting or course(fleet_simulation.steady(wish.rate))
    situations = _situations(fleet, usual, wish.q)[: None if failing else 1]
    situations += _situations(fleet, restarting, wish.q)[1:2] if restarting else []  # the other batches are like it
    situations += _situations(fleet, growing, wish.q)[:1] if growing else []
    return replace(
        plan,
        situations=situations,
        curve=_curve(size, wish),
        failing=failing,
        restarting=restarting,
        growing=growing,
        doubts=[*plan.doubts, *_doubts(size, situations, wish)],
    )


def _situations(fleet: Fleet, course: Course, q: float) -> list[Situation]:
    """One a phase. The errors of a part of a phase are told as those of all of it."""
    found = []
    for phase, seen in zip(course.phases, course.seen, strict=True):
        asked = course.machines - (phase.away[1] - phase.away[0])  # by a balancer that does not know who is dead
        node = fleet.node(asked, phase.rate)
        longer = phase.seconds / seen.seconds if math.isfinite(phase.seconds) else 1.0
        found.append(
            Situation(
                name=phase.name,
                machines=asked - (phase.dead[1] - phase.dead[0]),
                rate=phase.rate,
                load=node.utilisation,
                formula=node.percentile(q),
                simulated=seen.percentiles[q],
                errors=round(seen.errors * longer),
                is_unnoticed=phase.dead != (0, 0),
                seconds=phase.seconds if math.isfinite(phase.seconds) else None,
            )
        )
    return found


def _curve(size: Size, wish: Wish) -> list[tuple[int, float]]:
    """From fewer than keep up to twice as many as are needed."""
    first = max(1, math.ceil(wish.rate / size.fleet.capacity))
    last = max(size.machines + 2, math.ceil(1.25 * size.machines))
    step = max(1, (last - first) // _PICTURED)
    told = {size.needed - 1, size.needed, size.machines} - {0}
    counts = sorted({*range(first, last + 1, step), *told})
    takes = [(count, size.fleet.node(count, wish.rate).percentile(wish.q)) for count in counts]
    return [(count, seconds) for count, seconds in takes if math.isfinite(seconds)]


def _doubts(size: Size, situations: Sequence[Situation], wish: Wish) -> list[Doubt]:
    service, machine, workers = size.fleet.service, size.fleet.machine, size.fleet.workers
    doubts = []
    if service.law is not None and machine.cpus != service.cpus:
        doubts.append(
            Doubt(
                "other-machine",
                f"the profile is of {service.cpus:g} CPUs, these machines have {machine.cpus:g}: workers are taken to"
                " hinder each other as so many a CPU do, which flatters larger machines where they wait for one lock;"
                " measure on one such machine before you buy more",
            )
        )
    if workers == int(service.most_a_cpu * machine.cpus) and service.law is not None:
        doubts.append(
            Doubt(
                "far",
                f"{workers} workers on {machine.cpus:g} CPUs are as many as the profile is believed for; measure with"
                " more workers, or allow more by --workers-per-cpu",
            )
        )
    if size.fleet.places * 9 // 8 >= MOST_PLACES:  # the next that would have been tried
        doubts.append(
            Doubt(
                "most",
                f"no machine is given more than {MOST_PLACES} requests at once, for a service has no more workers;"
                " take smaller machines, or run several services on each",
            )
        )
    if (1 - wish.q) * service.known < 1:
        doubts.append(
            Doubt(
                "rare",
                f"the profile has {service.known} service times, which say little of one request in"
                f" {1 / (1 - wish.q):.0f}; set the goal for p99",
            )
        )
    apart = [one for one in situations if one.simulated is not None and _apart(one.formula, one.simulated) > APART]
    if apart:
        told = ", ".join(f"{one.name}: {latency(one.formula)} and {latency(one.simulated)}" for one in apart)
        why = ", as queues build up slowly there" if max(one.load for one in apart) > NEARLY_FULL else ""
        doubts.append(
            Doubt("formula", f"formula and simulation do not agree ({told}){why}; plan by the worse of the two")
        )
    return doubts


def _apart(formula: float, simulated: float) -> float:
    return abs(math.log(formula / simulated)) if math.isfinite(formula) else math.inf
