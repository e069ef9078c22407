"""What of the pages is made from the code is as it would be made now."""

import re

import click
import pytest

from prefork.config.instance import Instance
from prefork.config.service import Service
from prefork.config.settings import setting_names
from prefork.config.units import Seconds
from prefork.config.written import written
from prefork.pool import events
from prefork.pool.records import Phase, Policy, fixed
from tests.pool.simulation import Code, Simulation, World, service
from tests.site.commands import help_of
from tests.site.made import PARTS, PICTURES, made
from tests.site.settings import default_of
from tests.site.shelves import DOCS
from tests.site.transitions import GONE, NONE, changes

BAD = Code(
    dies_starting=10,
    dies_ready=20,
    leaves=20,
    sticks=20,
    wears=20,
    declines=20,
    ignores_retirement=20,
    boot=(0.0, 2.0),
    life=(0.0, 3.0),
    requests_a_second=10,
)


@pytest.mark.parametrize("page", [*PARTS, *PICTURES])
def test_what_is_made_is_up_to_date(page: str) -> None:
    """Otherwise ``python -m tests.site`` writes it."""
    assert (DOCS / page).read_text() == made(page)


def test_the_help_is_the_same_whoever_asked_before() -> None:
    """A command that was once asked without ``prefork`` in front of it has no ``-h``, and remembers that."""
    command = click.Command("alone")
    command.get_help(click.Context(command))
    assert "-h, --help" in help_of(command, "alone")


@pytest.mark.parametrize("kind", [Instance, Service])
def test_prose_and_code_agree_on_defaults(kind: type[Instance] | type[Service]) -> None:
    """Where the table of docs/configuration.md gives one, it is that of the record."""
    rows = re.findall(r"^\| (`.+?) \| (.*?) ?\|", (DOCS / "configuration.md").read_text(), re.MULTILINE)
    said = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    for name in set(setting_names(kind)) - {"target", "bind", "name", "backlog"}:
        default = default_of(kind, name)
        if isinstance(default, Seconds) and default:
            assert said[name] in (f"{default:g}s", f"{default / 60:g}m"), name
        elif default:
            assert written(default) in said[name], name


@pytest.mark.parametrize("seed", range(20))
def test_no_change_of_a_worker_is_missing_from_the_picture(seed: int) -> None:
    """Whatever happens to workers in a random history is drawn."""
    history = Seen(
        service(4), Policy(drain=2.0, boot=5.0, timeout=0.5, request_hard=1.0, refork_after=20), World(seed=seed)
    )
    history.settle().become(BAD).calm_at = history.now + 60
    for second in range(0, 60, 7):
        history.ask_at(history.now + second, events.ReloadAsked, configured=fixed(4))
        history.ask_recycle_at(history.now + second + 3, None, is_urgent=second % 2 == 0)
    history.run(history.now + 60)
    history.ask(events.StopAsked, phase=Phase.DRAINING).run()
    drawn = {(change.before, change.after) for change in changes()}
    assert history.seen <= drawn
    assert len(history.seen) > 5


class Seen(Simulation):
    """A history that keeps from which state to which workers went."""

    seen: set[tuple[str, str]]

    def tell(self, event: events.Event) -> None:
        before = self.pool
        super().tell(event)
        states = [{w.order: w.state.name for w in book.workers.values()} for book in (before, self.pool)]
        self.seen |= {
            change
            for order in states[0].keys() | states[1].keys()
            if (change := (states[0].get(order, NONE), states[1].get(order, GONE)))[0] != change[1]
        }

    def __post_init__(self) -> None:
        self.seen = set()
        super().__post_init__()
