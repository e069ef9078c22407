"""Emergency: so many workers die by a signal that what they inherited is not believed any more.

A mold hands its heap on to every worker, and with it whatever has been spoilt there, the more so one that was a worker
itself. So the next generation is loaded from fresh code, once, as by a reload that reads no configuration. It must not
know what a signal means.
Invariant: from one emergency to the next there is a whole window, however many die.
"""

from msgspec.structs import replace

from prefork.pool import events
from prefork.pool.orders import DeclareEmergency, Step
from prefork.pool.records import Policy, Pool

MOST_CRASHES = 100  # remembered, and so the most that can be configured


def next_step(pool: Pool, policy: Policy, now: float) -> Step | None:
    """The latest crashes are an emergency if they lie in one window.

    They wait while a generation is coming anyway, or on probation, which judges them itself.
    """
    is_coming = pool.coming is not None or pool.wanted.generation > pool.last_generation
    is_waiting = is_coming or pool.probation is not None
    if not policy.emergency_crashes or pool.is_stopping or is_waiting:
        return None
    recent = [at for at in pool.crashes if at > now - policy.emergency_window]
    if len(recent) < policy.emergency_crashes:
        return None
    why = f"{len(recent)} workers died by a signal within {now - recent[0]:.2g} s"
    return Step(DeclareEmergency(why), pool.emergency_at + policy.emergency_window)


def with_crash(pool: Pool, at: float) -> Pool:
    return replace(pool, crashes=(*pool.crashes, at)[-MOST_CRASHES:])


def declared(pool: Pool, event: events.EmergencyDeclared) -> Pool:
    """As a reload is asked for, but for the configuration."""
    if pool.is_stopping:
        return pool
    wanted = replace(pool.wanted, generation=pool.last_generation + 1, asked=None)
    return replace(pool, wanted=wanted, crashes=(), emergency_at=event.at)
