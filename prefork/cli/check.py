"""``prefork check``: what would run, and where each value came from. Nothing is opened, bound or imported."""

from typing import Any

import click
import msgspec

from prefork.cli.run import read_sources, sources
from prefork.config.settings import Instance, Service, setting_names
from prefork.config.sources import Place, Read


@click.command()
@sources
def check(target: str | None, config: str | None, **flags: Any) -> None:
    """Print what ``prefork run`` with the same arguments would run, and where each value came from.

    Exit 2, with one line, if a setting is wrong.
    """
    found = read_sources(target, config, flags)
    _print(found, "instance", None, found.instance, Instance)
    for name, service in found.instance.service.items():
        _print(found, f"service {name}", name, service, Service)


def _print(found: Read, title: str, service: str | None, record: msgspec.Struct, kind: type[Any]) -> None:
    click.echo(title)
    for setting in setting_names(kind):
        value = getattr(record, setting)
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        origin = found.origins.get(Place(service, setting), "default")
        click.echo(f"  {setting:20} {shown:40} {origin}")
