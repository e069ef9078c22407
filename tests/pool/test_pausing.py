"""Histories of a service that is paused: these events, then exactly these orders."""

from msgspec.structs import replace

from prefork.pool.events import PauseAsked, PauseTold, ResumeAsked, StopAsked
from prefork.pool.orders import DismissMold, SizePool, TellPause
from prefork.pool.records import Bounds, Load, Phase
from prefork.pool.rules import decide
from prefork.pool.wishes import Readings
from tests.pool.test_rules import POLICY, QUIET, after, decided, now, reload, serving

CROWDED = Readings({}, load=Load(busy=1, queued=9))


def test_workers_are_told_once_that_it_is_paused_and_once_that_it_is_not() -> None:
    """Also where it is asked for again."""
    pool = after(serving(2), PauseAsked(at=5))
    assert decided(pool, at=5) == now(5, TellPause(is_paused=True))
    pool = after(pool, PauseTold(at=5, is_paused=True), PauseAsked(at=6))
    assert decided(pool, at=6) == QUIET
    pool = after(pool, ResumeAsked(at=7))
    assert decided(pool, at=7) == now(7, TellPause(is_paused=False))
    assert decided(after(pool, PauseTold(at=7, is_paused=False)), at=7) == QUIET


def test_a_pause_lasts_over_a_reload_and_means_nothing_in_a_stop() -> None:
    """Whoever is admitted is served before the end."""
    pool = after(serving(1), PauseAsked(at=5), PauseTold(at=5, is_paused=True))
    assert after(pool, reload(at=6, configured=3)).wanted.is_paused
    stopping = after(pool, StopAsked(at=6, phase=Phase.DRAINING))
    assert decided(stopping, at=6) == now(6, DismissMold(1))
    assert after(stopping, ResumeAsked(at=7)) == stopping


def test_a_paused_pool_does_not_grow_for_its_queue() -> None:
    """Another worker could not accept anybody either; once it is resumed it grows."""
    pool = serving(1)
    pool = replace(pool, wanted=replace(pool.wanted, configured=Bounds(1, 4)))
    grows = SizePool(2, "1 busy, 9 queued")
    assert decide(pool, CROWDED, POLICY, 5) == now(5, grows)
    paused = after(pool, PauseAsked(at=5), PauseTold(at=5, is_paused=True))
    assert decide(paused, CROWDED, POLICY, 5) == now(5, SizePool(2, "1 busy"))  # a spare one for who is served
    idle = Readings({}, load=Load(busy=0, queued=9))
    assert decide(paused, idle, POLICY, 5) == QUIET
    resumed = after(paused, ResumeAsked(at=6), PauseTold(at=6, is_paused=False))
    assert decide(resumed, idle, POLICY, 6) == now(6, SizePool(2, "0 busy, 9 queued"))
