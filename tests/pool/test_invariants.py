"""Random histories: whatever happens, and in whatever order, these hold.

Code and machine misbehave as drawn (``simulation.py``), people ask for anything at any moment, and a watcher looks at
each decision before it is performed. In most histories all becomes calm at the end, for what must then be true.
"""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.pool import events, orders
from prefork.pool.health import trouble
from prefork.pool.learn import learn
from prefork.pool.orders import Cause
from prefork.pool.reasons import Reason
from prefork.pool.records import Bounds, Door, Phase, Policy, Pool, Stage, State, fixed
from prefork.pool.rules import Decision, decide
from prefork.pool.staffing import MOST_UNBORN
from tests.long import histories, long_but
from tests.pool.simulation import GOOD, Code, Simulation, World, service

COMMANDS: dict[str, tuple[type[events.Event], dict[str, object]]] = {
    "TTIN": (events.ScaleAsked, {"by": 1}),
    "TTOU": (events.ScaleAsked, {"by": -1}),
    "scale": (events.CountAsked, {"count": 3}),
    "pause": (events.PauseAsked, {}),
    "resume": (events.ResumeAsked, {}),
    "TERM": (events.StopAsked, {"phase": Phase.DRAINING}),
    "INT": (events.StopAsked, {"phase": Phase.QUICK}),
    "TERM TERM": (events.StopAsked, {"phase": Phase.NOW}),
}
THREE = fixed(3)
STOPS = ("TERM", "INT", "TERM TERM")

seeds = st.integers(0, 2**32)
counts = st.one_of(st.integers(0, 6), st.integers(1, 6), st.integers(1, 40))
chances = st.sampled_from([0, 0, 0, 5, 30, 100])
spans = st.sampled_from([(0.0, 0.0), (0.0, 0.3), (0.0, 3.0), (1.0, 1.0), (0.0, 20.0)])
limits = st.sampled_from(  # timeout, request_slow, request_hard
    [(None, None, None), (None, None, 2.0), (None, 3.0, 20.0), (1.0, 0.5, 2.0), (3.0, None, 20.0)]
)
policies = st.builds(
    lambda limits, **others: Policy(timeout=limits[0], request_slow=limits[1], request_hard=limits[2], **others),
    limits,
    refork_after=st.sampled_from([0, 0, 50]),
    emergency_crashes=st.sampled_from([0, 0, 3]),
    emergency_window=st.sampled_from([5.0, 60.0]),
    drain=st.sampled_from([0.0, 1.0, 5.0, 30.0]),
    quick=st.sampled_from([0.0, 0.5, 2.0]),
    boot=st.sampled_from([2.0, 5.0, 60.0]),
    max_surge=st.sampled_from([None, None, 1, 3, 50]),
)
codes = st.one_of(
    st.just(GOOD),
    st.builds(
        Code,
        load=spans,
        mold_refused=chances,
        broken=chances,
        dies_loading=chances,
        hangs_loading=chances,
        dies_loaded=chances,
        is_stubborn=chances,
        is_deaf=chances,
        boot=spans,
        dies_starting=chances,
        never_ready=chances,
        dies_ready=chances,
        dies_at_work=chances,
        leaves=chances,
        sticks=chances,
        heeds=chances,
        life=spans,
        requests_a_second=st.sampled_from([0, 1, 100]),
        ignores_retirement=chances,
        wears=chances,
        declines=chances,
        is_deaf_to_calls=chances,
        ages=chances,
        swells=chances,
        bursts=chances,
    ),
)
worlds = st.builds(
    World,
    codes=st.lists(codes, min_size=1, max_size=3).map(tuple),
    seed=seeds,
    refused=chances,
    request=spans,
    overtaking=chances,
    handshakes=st.sampled_from([0, 0, 3]),
    grain=st.sampled_from([0.001, 0.1, 0.5]),
)
RECYCLES = {
    "recycle": (None, False),
    "recycle --now": (None, True),
    "recycle 1": (1, False),
    "recycle 2 --now": (2, True),
}
PAUSES = ("pause", "resume")
asked_for = st.sampled_from(
    ["HUP", "HUP", "TTIN", "TTOU", "scale", "refork", "refork", *RECYCLES, *PAUSES],
)
commands = st.lists(st.tuples(st.floats(0, 40), asked_for), max_size=12)
stops = st.lists(st.tuples(st.floats(0, 60), st.sampled_from(STOPS)), min_size=1, max_size=4)


# what is watched at every decision


def is_obeyable(simulation: Simulation, decision: Decision) -> None:
    """No order twice, none to somebody who is not there, none to somebody who had it already."""
    pool = simulation.pool
    assert len(set(decision.orders)) == len(decision.orders)
    for order in decision.orders:
        if isinstance(order, orders.RetireWorker):
            assert pool.workers[order.slot].order == order.order
            assert pool.workers[order.slot].is_living
            assert pool.workers[order.slot].pid is not None
        elif isinstance(order, orders.KillWorker):
            assert pool.workers[order.slot].order == order.order
            assert pool.workers[order.slot].state is not State.KILLED
        elif isinstance(order, orders.ExpelWorker | orders.InterruptRequests | orders.TellSlowRequests):
            assert pool.workers[order.slot].order == order.order
            assert pool.workers[order.slot].state in (State.READY, State.RETIRING)
        elif isinstance(order, orders.AskRefork | orders.CallWorker):
            assert pool.workers[order.slot].order == order.order
            assert pool.workers[order.slot] in pool.but_called(pool.in_state(State.READY))
        elif isinstance(order, orders.DismissMold):
            assert pool.generations[order.generation].stage not in (Stage.LEAVING, Stage.KILLED)
        elif isinstance(order, orders.KillMold):
            assert pool.generations[order.generation].stage is not Stage.KILLED


def keeps_ready_what_is_wanted(simulation: Simulation, decision: Decision) -> None:
    """Our own decisions never bring the ready workers below what is wanted, but for the final stop."""
    pool = simulation.pool
    retired = {order.slot for order in decision.orders if isinstance(order, orders.RetireWorker)}
    retired |= {order.slot for order in decision.orders if isinstance(order, orders.CallWorker)}
    ready = {worker.slot for worker in pool.but_called(pool.in_state(State.READY))}
    if retired & ready and not pool.is_stopping:
        assert len(ready - retired) >= pool.wanted.count
    for worker in (pool.workers[slot] for slot in retired - ready):
        assert pool.is_stopping or worker.generation not in (pool.serving, pool.coming), "it was still being born"


def forks_no_more_than_may_be(simulation: Simulation, decision: Decision) -> None:
    """Beyond what is missing only as much as wanted and surge allow, into free slots, and nobody during a stop."""
    pool = simulation.pool
    spawned = [order for order in decision.orders if isinstance(order, orders.SpawnWorker)]
    if not spawned:
        return
    living = pool.but_called([worker for worker in pool.workers.values() if worker.is_living])
    missing = pool.wanted.count - len(living)
    room = pool.wanted.count + simulation.policy.surge(pool.wanted.count) - len(pool.workers)
    assert len(spawned) <= max(missing, room)
    assert len(spawned) + sum(worker.pid is None for worker in pool.workers.values()) <= MOST_UNBORN
    assert not pool.is_stopping
    slots = [order.slot for order in spawned]
    assert slots == [slot for slot in range(1, max(slots) + 1) if slot not in pool.workers]
    assert [order.order for order in spawned] == list(range(pool.next_order, pool.next_order + len(spawned)))
    assert all(pool.generations[order.generation].stage is Stage.LOADED for order in spawned)
    causes = Counter(order.cause for order in spawned)
    assert causes[Cause.CRASHED] <= pool.backoff.crashed
    assert causes[Cause.DIED] <= pool.backoff.died


def recycles_only_in_health(simulation: Simulation, decision: Decision) -> None:
    """In trouble nobody is retired for being worn out, nor anybody forked to replace such a one."""
    pool = simulation.pool
    if trouble(pool, simulation.now) is None:
        return
    living = [worker for worker in pool.workers.values() if worker.is_living]
    outdated = sum(worker.generation != pool.target for worker in living)
    spawned = sum(isinstance(order, orders.SpawnWorker) for order in decision.orders)
    assert spawned <= max(0, pool.wanted.count - len(living)) + outdated
    retired = [order for order in decision.orders if isinstance(order, orders.RetireWorker)]
    wear = {Reason.REQUESTS, Reason.AGE, Reason.MEMORY, Reason.ASKED}
    assert not [order for order in retired if order.reason in wear]


def repeats_itself(simulation: Simulation, decision: Decision) -> None:
    """A decision is a function of its arguments."""
    assert decide(simulation.pool, simulation.read(), simulation.policy, simulation.now) == decision


WATCHERS = [is_obeyable, keeps_ready_what_is_wanted, forks_no_more_than_may_be, recycles_only_in_health]


# what is watched at every event


STAGES = [Stage.LOADING, Stage.LOADED, Stage.BROKEN, Stage.LEAVING, Stage.KILLED, Stage.LOST]
STATES = list(State)
DOORS = list(Door)


def moved_forward(before: Pool, after: Pool) -> None:
    """States, stages, phases and numbers only grow; an incarnation has one slot, and a mold's loss is for good."""
    for slot, worker in after.workers.items():
        was = before.workers.get(slot)
        if was is not None and was is not worker and was.order == worker.order:
            assert STATES.index(was.state) <= STATES.index(worker.state)
            assert was.since <= worker.since
            assert (was.generation, was.ordered_at) == (worker.generation, worker.ordered_at)
            assert was.pid in (None, worker.pid)
        elif was is None or was.order != worker.order:
            assert worker.order >= before.next_order
    for number, generation in after.generations.items():
        mold = before.generations.get(number)
        if mold is not None and generation.pid in (mold.pid, None):
            assert STAGES.index(mold.stage) <= STAGES.index(generation.stage)
    assert before.wanted.phase <= after.wanted.phase
    assert before.wanted.generation <= after.wanted.generation
    assert before.last_generation <= after.last_generation
    if before.serving > after.serving:
        assert before.probation is not None
        assert after.serving == before.probation.fallback
    assert before.next_order <= after.next_order
    assert DOORS.index(before.door) <= DOORS.index(after.door)
    owed = after.backoff
    assert owed.crashed >= 0
    assert owed.died >= 0


def counts_each_once(simulation: Simulation, event: events.Event) -> None:
    """Who was born is in the book or has ended by one reason; who was ready has begun once; counts never shrink."""
    if not isinstance(event, events.WorkerExited | events.WorkerPromoted | events.WorkerReady):
        return
    pool = simulation.pool
    gone = (events.WorkerExited, events.WorkerPromoted)
    assert sum(pool.ended.values()) == sum(len(simulation.told(kind)) for kind in gone)
    assert set(pool.ended) <= set(Reason)
    ready = sum(worker.ready_at is not None for worker in pool.workers.values())
    assert ready <= pool.started <= ready + sum(pool.ended.values())


class Watched(Simulation):
    """A simulation whose every event and decision is looked at."""

    def __init__(self, workers: int, policy: Policy, world: World) -> None:
        super().__init__(service(workers), policy, world, watchers=[*WATCHERS])

    def tell(self, event: events.Event) -> None:
        before = self.pool
        super().tell(event)
        moved_forward(before, self.pool)
        counts_each_once(self, event)


def somewhere(
    workers: int,
    policy: Policy,
    world: World,
    asked: list[tuple[float, str]],
    boots_well: bool,
    probation: float = 0.0,
) -> Simulation:
    """A service in a world, with all that people will ask for.

    :param boots_well: the world turns bad only when the service has settled.
    """
    simulation = Watched(workers, policy, World() if boots_well else world)
    simulation.probation = probation
    if boots_well:
        simulation.settle().world = world
    for delay, command in asked:
        ask_for(command, simulation, delay)
    return simulation


def ask_for(command: str, simulation: Simulation, delay: float, configured: Bounds = THREE) -> None:
    """Somebody asks for it, so many seconds from now.

    :param configured: what a reload reads.
    """
    at = simulation.now + delay
    if command == "refork":
        simulation.ask_refork_at(at)
    elif command in RECYCLES:
        simulation.ask_recycle_at(at, *RECYCLES[command])
    elif command == "HUP":
        simulation.ask_at(at, events.ReloadAsked, configured=configured)
    else:
        event, fields = COMMANDS[command]
        simulation.ask_at(at, event, **fields)


# any history


@histories(400)
@given(counts, policies, worlds, commands, st.booleans(), st.sampled_from([0, 0, 1, 20]))
def test_any_history_ends_in_what_was_asked_for(
    workers: int, policy: Policy, world: World, asked: list[tuple[float, str]], boots_well: bool, probation: float
) -> None:
    """When all is calm the service serves the latest code with the wanted workers and rests; or it failed to start."""
    simulation = somewhere(workers, policy, world, asked, boots_well, probation)
    simulation.calm_at = simulation.now + 50.0
    simulation.watchers.append(repeats_itself)
    simulation.run()
    pool = simulation.pool
    if pool.failed:
        assert pool.serving == 0
        assert pool.is_finished
        return
    assert pool.is_settled
    assert Counter(worker.state for worker in pool.workers.values()) == Counter({State.READY: pool.wanted.count})
    assert {worker.generation for worker in pool.workers.values()} <= {pool.serving}
    assert list(pool.generations) == [pool.serving]
    assert pool.wanted.generation == pool.last_generation
    assert not [worker for worker in pool.workers.values() if worker.is_recycled]
    assert pool.is_paused is pool.wanted.is_paused
    assert simulation.now <= simulation.calm_at + 600
    assert simulation.turn() == Decision((), None)


@histories(300)
@given(counts, policies, worlds, commands, stops, st.booleans(), st.sampled_from([0, 0, 20]))
def test_every_stop_ends(
    workers: int,
    policy: Policy,
    world: World,
    asked: list[tuple[float, str]],
    stopped: list[tuple[float, str]],
    boots_well: bool,
    probation: float,
) -> None:
    """In any state, with any code: within the limit asked for, as long as the kernel honours SIGKILL."""
    simulation = somewhere(workers, policy, world, asked + stopped, boots_well, probation).run()
    assert simulation.pool.is_finished
    assert not simulation.workers
    assert not simulation.molds
    death = world.kill[1] + world.grain
    mold = policy.quick + 2 * death  # told, killed, gone; and at that moment somebody may still have been born
    limits = {Phase.DRAINING: max(policy.drain, 1.0), Phase.QUICK: max(policy.quick, 1.0), Phase.NOW: 0.0}
    ends = [at + max(limits[phase] + death, mold) for at, phase in phases_of(simulation)]
    assert simulation.now <= min(ends) + death


def phases_of(simulation: Simulation) -> list[tuple[float, Phase]]:
    """The stops asked for, and when."""
    asked = [(event.at, event.phase) for event in simulation.told(events.StopAsked)]
    return asked + [(event.at, Phase.NOW) for event in simulation.told(events.ServiceFailed)]


@histories(100)
@given(counts, policies, worlds, commands, st.booleans(), st.floats(0, 60))
def test_news_of_the_dead_changes_nothing(
    workers: int, policy: Policy, world: World, asked: list[tuple[float, str]], boots_well: bool, until: float
) -> None:
    """All that was ever told of incarnations no longer in the book may be told again, late."""
    simulation = somewhere(workers, policy, world, asked, boots_well)
    pool = simulation.run(simulation.now + until).pool
    for event in simulation.told(events.WorkerEvent):
        worker = pool.workers.get(event.slot)
        is_stale = worker is None or worker.order != event.order
        assert not is_stale or isinstance(event, events.WorkerOrdered) or learn(pool, event) == pool
    for kind in (events.MoldLoaded, events.MoldBroken, events.MoldDismissed, events.MoldGone):
        for news in simulation.told(kind):
            assert news.generation in pool.generations or learn(pool, news) == pool


@pytest.mark.parametrize(("workers", "seed"), long_but([(200, 0), (2000, 0), (2000, 1), (2000, 2)], (200, 0)))
def test_thousands_of_workers_are_kept_like_a_few(workers: int, seed: int) -> None:
    """Hundreds and thousands through boot, deaths, refusals, a reload and a stop: the same promises, still quick."""
    code = Code(
        dies_starting=1,
        dies_ready=2,
        leaves=1,
        wears=5,
        ages=5,
        swells=5,
        bursts=1,
        sticks=1,
        ignores_retirement=2,
        requests_a_second=5,
    )
    policy = Policy(drain=5.0, boot=5.0, request_hard=2.0)
    world = World(seed=seed, refused=1, grain=0.1)
    simulation = Simulation(service(workers), policy, world, watchers=[*WATCHERS]).settle()
    simulation.become(code)
    simulation.run(simulation.now + 10)
    simulation.ask(events.ReloadAsked, configured=fixed(workers)).calm_at = simulation.now + 10
    simulation.run()
    assert simulation.pool.is_settled
    assert len(simulation.pool.workers) == workers
    simulation.ask(events.StopAsked, phase=Phase.DRAINING).run()
    assert simulation.pool.is_finished


# ready workers


healthy_starts = st.builds(
    Code,
    load=spans,
    boot=st.sampled_from([(0.0, 0.3), (0.0, 3.0)]),
    wears=chances,
    ages=chances,
    swells=chances,
    life=spans,
    is_stubborn=chances,
)


@histories(100)
@given(
    st.integers(1, 25),
    seeds,
    healthy_starts,
    st.sampled_from([0, 30]),
    st.sampled_from([0, 5]),
    st.sampled_from([None, 1, 40]),
)
def test_recycling_and_reloading_never_lower_the_ready_workers(
    workers: int, seed: int, code: Code, overtaking: float, refused: float, max_surge: int | None
) -> None:
    """Replacement comes before retirement: as long as nobody dies, all wanted workers are ready at every moment."""
    world = World(codes=(code,), seed=seed, overtaking=overtaking, refused=refused, request=(0.0, 3.0))
    simulation = Watched(workers, Policy(max_surge=max_surge), world).settle()

    def all_are_ready(simulation: Simulation, decision: Decision) -> None:
        assert len(simulation.pool.in_state(State.READY)) >= workers
        assert len(simulation.pool.workers) <= workers + simulation.policy.surge(workers)

    simulation.watchers.append(all_are_ready)
    for is_urgent in (False, True, False):
        simulation.ask_recycle(None, is_urgent).run(simulation.now + 1)
        simulation.ask(events.ReloadAsked, configured=fixed(workers)).run(simulation.now + 10)
    simulation.calm_at = simulation.now
    simulation.run()
    assert simulation.pool.is_settled


# reloads


BROKEN = {
    "cannot be loaded": Code(broken=100),
    "is broken and stays": Code(broken=100, is_stubborn=100),
    "dies while it loads": Code(dies_loading=100),
    "hangs while it loads": Code(hangs_loading=100, is_stubborn=100),
    "cannot be started": Code(mold_refused=100),
    "forgets to fork": Code(is_deaf=100),
    "dies in its workers": Code(dies_starting=100),
    "dies in most of its workers": Code(dies_starting=80),
    "never becomes ready": Code(never_ready=100),
    "never becomes ready in most": Code(never_ready=80, ignores_retirement=100),
    "is slow to die": Code(dies_starting=100, boot=(50.0, 90.0)),
}


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN.keys())
@histories(12)
@given(st.integers(1, 40), seeds, st.sampled_from([0.5, 5.0, 60.0, 100.0]))
def test_a_broken_reload_leaves_the_old_generation_serving(code: Code, workers: int, seed: int, boot: float) -> None:
    """However it is broken, whoever waits for it gets a reason, and no moment has fewer ready workers than wanted."""
    simulation = Watched(workers, Policy(boot=boot), World(seed=seed)).settle()
    simulation.become(GOOD, code)

    def all_are_ready(simulation: Simulation, decision: Decision) -> None:
        assert len(simulation.pool.in_state(State.READY)) >= workers

    simulation.watchers.append(all_are_ready)
    simulation.ask(events.ReloadAsked, configured=fixed(workers)).run()
    pool = simulation.pool
    if pool.serving == 2:
        assert code.dies_starting < 100 > code.never_ready, "some codes are lucky"
        return
    [abandoned] = simulation.told(events.GenerationAbandoned)
    assert abandoned.why
    assert (pool.serving, pool.coming, list(pool.generations)) == (1, None, [1])
    assert [(worker.generation, worker.state) for worker in pool.workers.values()] == [(1, State.READY)] * workers
    simulation.become(GOOD, GOOD, GOOD).ask(events.ReloadAsked, configured=fixed(workers)).run()
    assert simulation.pool.serving == 3


@histories(100)
@given(st.integers(0, 20), seeds, st.lists(st.floats(0, 0.999), max_size=8), st.floats(0, 1))
def test_reloads_asked_during_one_become_exactly_one_more(
    workers: int, seed: int, fractions: list[float], overtaking: float
) -> None:
    """However many, at whatever moment of it; and the code they mean is loaded after the last of them."""
    world = World(seed=seed, codes=(Code(load=(1.0, 1.0)),), overtaking=100 * overtaking)
    simulation = Watched(workers, Policy(), world).settle()
    simulation.ask(events.ReloadAsked, configured=fixed(workers)).run(simulation.now)
    begin = simulation.now
    for fraction in fractions:
        simulation.ask_at(begin + fraction, events.ReloadAsked, configured=fixed(workers))
    simulation.run()
    assert simulation.pool.serving == (3 if fractions else 2)
    assert simulation.pool.is_settled
    assert simulation.told(events.MoldStarted)[-1].at >= simulation.told(events.ReloadAsked)[-1].at


@histories(100)
@given(st.integers(1, 20), seeds, st.lists(st.floats(0, 20), min_size=1, max_size=30))
def test_the_latest_code_is_loaded_after_it_was_asked_for(workers: int, seed: int, moments: list[float]) -> None:
    """A storm of reloads at any moments ends with a generation that was begun after the last of them."""
    simulation = Watched(workers, Policy(), World(seed=seed, codes=(Code(load=(0.0, 2.0)),)))
    for at in moments:
        simulation.ask_at(at, events.ReloadAsked, configured=fixed(workers))
    simulation.run()
    asked = [event.at for event in simulation.told(events.ReloadAsked)]
    begun = {event.generation: event.at for event in simulation.told(events.MoldStarted)}
    assert simulation.pool.is_settled
    assert begun[simulation.pool.serving] >= max(asked)
    assert len(begun) <= 1 + len(asked)


@histories(100)
@given(st.integers(1, 20), policies, worlds, st.floats(0, 5), st.sampled_from(STOPS))
def test_a_stop_during_a_reload_wins_at_once(
    workers: int, policy: Policy, world: World, delay: float, command: str
) -> None:
    """At that very moment: nobody new is admitted, nothing is begun, every mold is told or killed."""
    simulation = Watched(workers, policy, World(seed=world.seed)).settle()
    simulation.world = world
    simulation.ask(events.ReloadAsked, configured=fixed(workers)).run(simulation.now + delay)
    event, fields = COMMANDS[command]
    simulation.ask(event, **fields)
    done = len(simulation.history)
    simulation.run(simulation.now)
    begun = simulation.history[done:]
    assert simulation.pool.door is not Door.OPEN
    assert not [order for order in begun if isinstance(order, orders.StartMold | orders.SpawnWorker)]
    stages = {generation.stage for generation in simulation.pool.generations.values()}
    assert stages <= {Stage.LEAVING, Stage.KILLED}
    if command == "TERM TERM":
        known = [worker for worker in simulation.pool.workers.values() if worker.pid is not None]
        assert {worker.state for worker in known} <= {State.KILLED}
    simulation.run()
    assert simulation.pool.is_finished


@histories(100)
@given(st.integers(1, 25), seeds, st.sampled_from([0.0, 5.0, 15.0]), st.sampled_from([1, 3, 30]))
def test_a_generation_that_crashes_on_probation_is_rolled_back_at_no_cost(
    workers: int, seed: int, crashes_after: float, request: float
) -> None:
    """The old generation serves again, with all its workers; only deaths ever lower the ready ones, no decision."""
    code = Code(dies_ready=100, life=(crashes_after, crashes_after + 2))
    simulation = Watched(workers, Policy(), World(seed=seed, codes=(GOOD, GOOD, GOOD), request=(0.0, request)))
    simulation.probation = 20.0
    simulation.settle().ask(events.ReloadAsked, configured=fixed(workers + 2))
    simulation.run(has_come=lambda pool: pool.serving == 2)
    simulation.become(code, GOOD)
    simulation.lose_workers()
    simulation.run()
    pool = simulation.pool
    [rolled_back] = simulation.told(events.GenerationRolledBack)
    assert rolled_back.why
    assert (pool.serving, pool.wanted.count, list(pool.generations)) == (1, workers, [1])
    assert {(worker.generation, worker.state) for worker in pool.workers.values()} == {(1, State.READY)}
    simulation.ask(events.ReloadAsked, configured=fixed(workers)).run()
    assert simulation.pool.serving == 3


@histories(50)
@given(st.integers(1, 25), seeds, st.lists(st.floats(0, 60), min_size=1, max_size=6))
def test_reloads_during_a_probation_fall_back_to_the_last_good_one(
    workers: int, seed: int, moments: list[float]
) -> None:
    """The newest wins; while any is on probation the mold of the last that passed is there to go back to."""
    simulation = Watched(workers, Policy(), World(seed=seed))
    simulation.probation = 20.0
    good = [1]

    def can_go_back(simulation: Simulation, decision: Decision) -> None:
        on_probation = simulation.pool.probation
        if on_probation is None:
            good.append(simulation.pool.serving)
        else:
            assert on_probation.fallback == good[-1]
            assert simulation.pool.generations[good[-1]].stage is Stage.LOADED

    simulation.settle().watchers.append(can_go_back)
    for moment in moments:
        simulation.ask_at(simulation.now + moment, events.ReloadAsked, configured=fixed(workers))
    simulation.run()
    assert simulation.pool.serving == simulation.pool.last_generation
    assert list(simulation.pool.generations) == [simulation.pool.serving]


# forks


def forks(simulation: Simulation, begin: float = -1.0) -> int:
    """Orders to fork after ``begin`` that made a process."""
    born = {event.order for event in simulation.told(events.WorkerBorn)}
    return sum(event.order in born for event in simulation.told(events.WorkerOrdered) if event.at > begin)


CRASHES = {
    "before ready": Code(dies_starting=100, boot=(0.0, 0.5)),
    "at once": Code(dies_starting=100, boot=(0.0, 0.0)),
    "when ready": Code(dies_ready=100, life=(0.0, 0.0)),
    "within the first seconds": Code(dies_ready=100, life=(0.0, 9.9)),
    "of the first request": Code(dies_ready=100, dies_at_work=100, life=(0.0, 29.0)),
    "by leaving": Code(leaves=100, life=(0.0, 0.5)),
    "by leaving or dying": Code(leaves=50, dies_ready=50, life=(0.0, 3.0)),
    "stuck until killed": Code(sticks=100, life=(0.0, 1.0)),
    "now before ready, now after": Code(dies_starting=50, dies_ready=100, life=(0.0, 5.0)),
    "now and then": Code(dies_starting=5, dies_ready=50, life=(0.0, 9.0)),
}


@pytest.mark.parametrize("code", CRASHES.values(), ids=CRASHES.keys())
@histories(8)
@given(st.one_of(st.integers(1, 12), st.integers(1, 100)), seeds, st.sampled_from([0, 20]), st.integers(0, 2))
def test_unproven_deaths_cost_a_bounded_number_of_forks(
    code: Code, workers: int, seed: int, refused: float, reloads: int
) -> None:
    """Never a fork storm: ``max(8, N)`` at first and as many a minute; a reload that failed starts the count anew."""
    simulation = Watched(workers, Policy(request_hard=1.0), World(seed=seed, refused=refused)).settle()
    simulation.become(code, Code(hangs_loading=100))
    simulation.lose_workers()
    begin, minutes = simulation.now, 10
    for number in range(reloads):
        simulation.ask_at(begin + 200 * number, events.ReloadAsked, configured=fixed(workers))
    simulation.run(begin + 60 * minutes)
    most = max(8, workers)
    assert forks(simulation, begin - 1e-9) <= most + most * minutes + reloads * (most + workers)
    ordered = [event.at for event in simulation.told(events.WorkerOrdered) if event.at > begin]
    assert all(later - earlier <= 60 for earlier, later in pairwise(ordered)), "it is never given up"


@pytest.mark.parametrize("code", CRASHES.values(), ids=CRASHES.keys())
@histories(8)
@given(st.integers(1, 40), seeds, st.floats(0, 100))
def test_new_code_ends_any_crash_loop(code: Code, workers: int, seed: int, delay: float) -> None:
    """The remedy is let in at whatever moment, and the failures of the code before are not held against it."""
    simulation = Watched(workers, Policy(request_hard=1.0), World(seed=seed)).settle().become(code, GOOD)
    simulation.lose_workers()
    simulation.run(simulation.now + delay)
    simulation.ask(events.ReloadAsked, configured=fixed(workers)).run()
    assert simulation.pool.serving == 2
    assert simulation.pool.is_settled


@histories(30)
@given(st.integers(1, 60), seeds, st.sampled_from([(0.0, 0.0), (0.0, 1.0), (10.0, 11.0)]), st.booleans())
def test_proven_deaths_cost_a_bounded_number_of_forks(
    workers: int, seed: int, life: tuple[float, float], leaves: bool
) -> None:
    """Replaced at once, but not without end: ``max(8, N)`` at first, and as many a second."""
    code = Code(dies_ready=0 if leaves else 100, leaves=100, life=life, requests_a_second=1e6, boot=(0.0, 0.1))
    simulation = Watched(workers, Policy(), World(seed=seed)).settle()
    simulation.become(code)
    simulation.lose_workers()
    begin, seconds = simulation.now, 20
    simulation.run(begin + seconds)
    most = max(8, workers)
    unproven = 2 * most  # those that died before their first request
    assert forks(simulation, begin - 1e-9) <= most + most * seconds + unproven


@histories(60)
@given(st.integers(1, 40), seeds, st.sampled_from([(0.0, 0.5), (0.0, 9.0)]), st.sampled_from([20, 60, 100]))
def test_crashing_successors_of_the_worn_out_are_bounded_too(
    workers: int, seed: int, life: tuple[float, float], deaths: float
) -> None:
    """A worn-out worker waits for a successor that holds; those that do not are counted as crashes."""
    simulation = Watched(workers, Policy(), World(seed=seed, codes=(Code(wears=100, life=(1.0, 2.0)),))).settle()
    simulation.become(Code(dies_starting=deaths / 2, dies_ready=deaths, wears=100, life=life))
    begin, minutes = simulation.now, 5
    simulation.run(begin + 60 * minutes)
    retired = len(simulation.told(events.WorkerRetired))
    most = max(8, workers)
    assert forks(simulation, begin) <= retired + simulation.policy.surge(workers) + most + most * minutes
    assert len(simulation.pool.workers) <= workers + simulation.policy.surge(workers)


@pytest.mark.parametrize("code", [CRASHES["before ready"], CRASHES["when ready"], Code(dies_loaded=100)])
@histories(15)
@given(st.integers(1, 100), seeds)
def test_a_service_that_dies_at_its_first_boot_is_given_up_after_three_attempts(
    code: Code, workers: int, seed: int
) -> None:
    """All are forked at most three times."""
    simulation = Watched(workers, Policy(), World(seed=seed, codes=(code,)))
    simulation.run(1000)
    if simulation.pool.failed:
        assert simulation.pool.is_finished
        assert forks(simulation) <= 3 * workers
        assert len(simulation.told(events.MoldStarted)) <= 3
    else:
        assert simulation.pool.serving == 1, "it became ready as a whole before it died"


@histories(60)
@given(st.integers(1, 20), seeds, st.sampled_from([(0.0, 0.0), (0.0, 1.0), (0.0, 50.0)]), st.sampled_from([0, 50]))
def test_molds_that_keep_dying_cost_few_interpreters(
    workers: int, seed: int, life: tuple[float, float], deaths: float
) -> None:
    """Loading is dear: a lost mold is loaded anew ever more slowly, and its workers serve on meanwhile."""
    simulation = Watched(workers, Policy(), World(seed=seed)).settle()
    simulation.become(Code(dies_loaded=100, mold_life=life, dies_loading=deaths, mold_refused=deaths))
    simulation.lose_molds()
    begin, minutes = simulation.now, 10
    simulation.run(begin + 60 * minutes)
    started = simulation.told(orders.StartMold)
    assert len(started) - 1 <= 16 + 2 * minutes
    assert len(simulation.pool.in_state(State.READY)) == workers
    simulation.calm_at = simulation.now
    simulation.run()
    assert simulation.pool.generations[1].stage is Stage.LOADED
