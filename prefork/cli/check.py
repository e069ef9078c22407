"""``prefork check``: what would run, and where each value came from. Nothing is opened or bound.

With ``--load`` the application is imported too, in a child, as a mold would.
"""

from typing import Any

import click
import msgspec

from prefork.cli.run_flags import read_sources, sources
from prefork.config.instance import Instance
from prefork.config.service import Service
from prefork.config.settings import setting_names
from prefork.config.sources import Place, Read
from prefork.errors import TargetError


@click.command()
@click.option("--load", is_flag=True, help="Import the application too, in a child process.")
@sources
def check(target: str | None, config: str | None, load: bool, **flags: Any) -> None:
    """Print what ``prefork run`` with the same arguments would run, and where each value came from.

    Exit 2, with one line, if a setting is wrong; with --load, 3 and the reason if the application cannot be loaded.
    """
    found = read_sources(target, config, flags)
    _print(found, "instance", None, found.instance, Instance)
    for name, service in found.instance.service.items():
        _print(found, f"service {name}", name, service, Service)
    if load:
        for name, service in found.instance.service.items():
            _load(name, service)
            click.echo(f"service {name} can be loaded")


def _load(name: str, service: Service) -> None:
    """:raises TargetError: it cannot be loaded, with the reason."""
    from prefork.rehearsal import rehearse  # it brings what starts children

    outcome = rehearse(name, service)
    if outcome.is_its_own_error:
        click.echo(outcome.why, err=True)
        raise TargetError(f"service {name} cannot be loaded, for the reason above")
    if outcome.why:
        raise TargetError(f"service {name} cannot be loaded: {outcome.why}")


def _print(found: Read, title: str, service: str | None, record: msgspec.Struct, kind: type[Any]) -> None:
    click.echo(title)
    for setting in setting_names(kind):
        value = getattr(record, setting)
        shown = _show(value)
        origin = found.origins.get(Place(service, setting), "default")
        click.echo(f"  {setting:20} {shown:40} {origin}")


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} = {part}" for name, part in value.items())
    return ", ".join(map(str, value)) if type(value) is tuple else str(value)
