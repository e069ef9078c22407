"""The rules: small functions that compare what is wanted with what is there.

Each has one signature and yields orders that are due, or ``Later`` with the moment at which it would have one; so the
next deadline can never disagree with the rule that has it. They stand in files by topic. To change a behaviour, change
one rule; to add one, add a name to ``RULES``. It must not know how an order is carried out.
Invariants: ready workers are retired only while more are ready than wanted; forks beyond the wanted count only replace,
and never make more than wanted plus surge.
Read next: ``wishes.py``, what a rule is; then the topic.
"""

from msgspec import Struct

from prefork.pool import closing, degraded, generations, limits, pausing, staffing
from prefork.pool.orders import Order
from prefork.pool.records import Policy, Pool
from prefork.pool.wishes import Later, Readings, Rule

RULES: tuple[Rule, ...] = (
    generations.abandon_failed,
    generations.judge_probation,
    degraded.give_up,
    generations.settle_coming,
    generations.refork,
    generations.load_afresh,
    generations.start_mold,
    pausing.tell_pause,
    limits.look_after_standing,
    limits.kill_overdue,
    limits.kill_swollen,
    limits.end_leftovers,
    limits.expel_stuck,
    limits.expel_urgent,
    limits.dump_expelled,
    limits.interrupt_stuck,
    limits.tell_slow,
    degraded.forget_failures,
    staffing.size_pool,
    staffing.spawn_missing,
    staffing.retire_stillborn,
    staffing.retire_surplus,
    generations.dismiss_molds,
    degraded.tell_health,
    closing.close_door,
    closing.drain_workers,
)


class Decision(Struct, frozen=True):
    """Orders that are due, and when to decide again: at once after orders; ``None`` if only news can bring any."""

    orders: tuple[Order, ...]
    until: float | None


def decide(pool: Pool, readings: Readings, policy: Policy, now: float) -> Decision:
    """What to do about the difference between wanted and actual, at ``now`` seconds.

    The first rule that has orders gives them alone: the rules after it count on a book in which they are obeyed.
    """
    until: float | None = None
    for rule in RULES:
        orders: list[Order] = []
        for wish in rule(pool, readings, policy, now):
            if not isinstance(wish, Later):
                orders.append(wish)
            elif until is None or wish.at < until:
                until = wish.at
        if orders:
            return Decision(tuple(orders), until=now)
    return Decision((), until)
