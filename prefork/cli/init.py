"""``prefork init``: what is typed behind ``prefork run``, as a file; and asked, what else a machine needs."""

import os
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import click

from prefork.cli.completing import directories
from prefork.cli.run_flags import sources
from prefork.config.instance import Instance
from prefork.config.sources import DEFAULT_FILE, read
from prefork.errors import UsageError
from prefork.init import commented, kits, writing
from prefork.init.kits import File, Kit
from prefork.init.site import ANYWHERE_BIND, DEFAULT_ADMIN, DEFAULT_BIND, Site, site_of
from prefork.rehearsal import rehearse
from prefork.system.sudo import typed

_WITHIN_SYSTEMD = ("user", "group")  # a unit says who it is, so the file need not
_PLAIN_NAME, _IMAGE_NAME = re.compile(r"[A-Za-z0-9_.-]+"), re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_ADDRESS = re.compile(r"[\d.]+|[\da-f.]*:[\da-f:.]*", re.IGNORECASE)
_TRY = "http.server:SimpleHTTPRequestHandler"


def _kits(command: Callable[..., None]) -> Callable[..., None]:
    for kit in reversed(kits.KITS):
        command = click.option(f"--{kit.name}", is_flag=True, help=f"Write this too: {kit.help}")(command)
    return command


@click.command()
@click.option(
    "-d",
    "--directory",
    metavar="DIR",
    default=".",
    shell_complete=directories,
    help="Write it here; it is made.  [default: here]",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@_kits
@sources
def init(target: str | None, config: str | None, directory: str, force: bool, **flags: Any) -> None:
    """Write a prefork.toml for TARGET, with comments, and what else is asked for.

    It takes what prefork run takes, and writes it down. With -c FILE no prefork.toml is written, but what else is asked
    for is filled in for the services of that file.

    \b
    prefork init mymodule:Handler --bind tcp://0.0.0.0:9000 --workers 8
    prefork init mymodule:Handler -b unix:/run/shop/shop.sock --systemd --nginx
    prefork init -c prefork.toml --container

    All files are written, or none; one that is there is replaced only with --force.
    """
    asked = [kit for kit in kits.KITS if flags.pop(kit.name)]
    given: dict[str, Any] = {name: value for name, value in flags.items() if value is not None and value != ()}
    who = (
        {name: given.pop(name, "") for name in _WITHIN_SYSTEMD} if _has(asked, "systemd") else {"user": "", "group": ""}
    )
    _refuse_odd(target, config, asked, given)
    if target is not None:
        given = _completed(given, target, asked)
    instance = read(config, target, given, {}).instance
    path = config or _below(directory, DEFAULT_FILE)
    site = site_of(instance, path, os.getcwd(), **who)._replace(opens_sockets=target is not None)
    _refuse_unwritable(site, instance, config, asked)
    files = [] if target is None else [_prefork_toml(instance, site, given, target, path, asked)]
    files += [file for kit in asked for file in kits.files(kit, site)]
    writing.write_all({_below(directory, file.path): file.text for file in files}, replaces=force)
    for file in files:
        click.echo(f"wrote {_below(directory, file.path)}")
    for line in _next(path, site, directory, asked, is_new=target is not None):
        click.echo(line)
    for note in _notes(site, asked):
        click.echo(f"prefork: note: {note}", err=True)
    for name, service in instance.service.items():
        outcome = rehearse(name, service, output=2)
        if outcome.why:
            click.echo(f"prefork: note: {name} cannot be loaded yet: {outcome.last_line}", err=True)


def _has(asked: list[Kit], name: str) -> bool:
    return any(kit.name == name for kit in asked)


def _refuse_odd(target: str | None, config: str | None, asked: list[Kit], given: dict[str, Any]) -> None:
    """:raises UsageError: it is not said what is served, or it is said twice."""
    if target is None and config is None:
        remedy = f"give a TARGET as mymodule:Handler; to try it, {_TRY} serves the files of this directory"
        raise UsageError(f"init: nothing says what is served; {remedy}")
    if target is not None and config is not None:
        raise UsageError(f"init: TARGET {target} and --config {config} both say what is served; leave one of them out")
    if config is not None and given:
        flag = "--" + next(iter(given)).replace("_", "-")
        raise UsageError(f"{flag}: {config} is not changed; write it there, or leave --config out")
    if _has(asked, "systemd") and _has(asked, "container"):
        remedy = "ask for one after the other, each with a --directory of its own"
        raise UsageError(
            f"--container: in an image prefork.toml has to say where it listens, under systemd not; {remedy}"
        )
    if config is not None and not asked:
        remedy = ", ".join(f"--{kit.name}" for kit in kits.KITS)
        raise UsageError(f"init: {config} is read, and not written; say what else to write: {remedy}")


def _refuse_unwritable(site: Site, instance: Instance, config: str | None, asked: list[Kit]) -> None:
    """:raises UsageError: what was asked for cannot say of this site what it has to."""
    for kit in asked:
        _refuse_odd_words(site, kit)
        if kit.connects:
            _refuse_unreachable(site, config, kit)
    if _has(asked, "systemd"):
        _refuse_outside_systemd(site, instance)


def _refuse_odd_words(site: Site, kit: Kit) -> None:
    if not kit.is_beside and site.odd_words:
        remedy = "use letters, digits and any of @+=:,./-_"
        raise UsageError(f"--{kit.name}: {site.odd_words[0]!r} cannot be written into its files; {remedy}")
    wanted = _IMAGE_NAME if kit.is_beside else _PLAIN_NAME
    if not wanted.fullmatch(site.name):
        letters = "lower-case letters of ASCII" if kit.is_beside else "letters of ASCII"
        raise UsageError(f"--{kit.name}: there can be no file or image named {site.name!r}; give a --name of {letters}")


def _refuse_unreachable(site: Site, config: str | None, kit: Kit) -> None:
    if all(bind.is_inherited for bind in site.binds):
        bind = site.binds[0] if site.binds else "none"
        remedy = "give TARGET and --bind instead of --config, as the socket unit has them"
        raise UsageError(f"--{kit.name}: {config or 'the command line'} does not say where {bind} listens; {remedy}")
    if not any(bind.scheme == "tcp" or not kit.is_beside for bind in site.doors):
        wanted = "a TCP port" if kit.is_beside else "a TCP port or the path of a Unix socket"
        binds = ", ".join(map(str, site.binds))
        raise UsageError(f"--{kit.name}: it needs {wanted}, and {binds} is none; give --bind {DEFAULT_BIND} as well")


def _refuse_outside_systemd(site: Site, instance: Instance) -> None:
    for bind in site.binds if site.opens_sockets else ():
        if bind.scheme in ("tcp", "udp") and not (bind.port and _ADDRESS.fullmatch(bind.host)):
            what = f"looks no name up, as {bind.host}" if bind.port else "chooses no port"
            raise UsageError(f"--systemd: {bind}: systemd {what}; write the address and the port, as {DEFAULT_BIND}")
    users = {service.user or "nobody else" for service in instance.service.values()}
    if len(users) > 1:
        remedy = "give all services one `user`, or none"
        raise UsageError(
            f"--systemd: a unit has one user, and the services want {' and '.join(sorted(users))}; {remedy}"
        )


def _completed(given: dict[str, Any], target: str, asked: list[Kit]) -> dict[str, Any]:
    """With what the other files need, where it was not said."""
    default: dict[str, Any] = {"bind": (ANYWHERE_BIND if _has(asked, "container") else DEFAULT_BIND,)}
    if any(kit.asks_admin for kit in asked):
        default["admin"] = DEFAULT_ADMIN
    if _has(asked, "logrotate") and not {"log_file", "access_log", "log_to"} & set(given):
        name = given.get("name") or target.partition(":")[0].rpartition(".")[2]
        default["log_file"] = f"/var/log/{name}/{name}.log"
    return {**default, **given}


def _prefork_toml(
    instance: Instance, site: Site, given: dict[str, Any], target: str, path: str, asked: list[Kit]
) -> File:
    binds = tuple(f"systemd:{name}" for name in site.socket_names) if _has(asked, "systemd") else given["bind"]
    settings = {"name": instance.name, "target": target, **given, "bind": binds}
    helps = {parameter.name or "": str(getattr(parameter, "help", "") or "") for parameter in init.params}
    return File(DEFAULT_FILE, "\n".join(commented.lines(commented.Chosen(instance, settings, helps), path)) + "\n")


def default_toml(site: Site) -> str:
    """The ``prefork.toml`` of a site under systemd, with nothing else chosen than what the site says."""
    given = {"bind": tuple(map(str, site.binds)), "admin": str(site.admin), "name": site.name}
    instance = read(None, site.target, given, {}).instance
    return _prefork_toml(instance, site, given, site.target, site.config, [kits.KITS[0]]).text


def _below(directory: str, path: str) -> str:
    return os.path.normpath(os.path.join(directory, path))


def _notes(site: Site, asked: list[Kit]) -> Iterator[str]:
    """What a proxy needs of a Unix socket, and the files cannot give it."""
    for door in site.doors:
        if door.is_unix and _has(asked, "nginx") and not door.group and door.mode & 0o006 != 0o006:
            remedy = f"bind {door._replace(group='www-data')}, the group of nginx on Debian"
            yield f"nginx may not connect to {door.path}, which is for its owner and group; {remedy}"
        if door.is_unix and _has(asked, "haproxy") and all(one.is_unix for one in site.doors):
            remedy = "take chroot out of haproxy.cfg, or bind a TCP port as well"
            yield f"HAProxy looks for {door.path} below its chroot; {remedy}"


def _next(path: str, site: Site, directory: str, asked: list[Kit], is_new: bool) -> Iterator[str]:
    """What one types now."""
    steps = []
    here, toml = shlex.quote(directory), shlex.quote(path)
    if is_new and not _has(asked, "systemd"):
        steps = [f"prefork check --load -c {toml}", f"prefork run -c {toml}"]
    for kit in asked:
        if kit.is_beside and not is_new and os.path.abspath(path) != os.path.abspath(_below(directory, DEFAULT_FILE)):
            steps.append(f"cp {toml} {shlex.quote(_below(directory, DEFAULT_FILE))}")
        if kit.is_beside and site.has_code and os.path.abspath(directory) != site.directory:
            steps.append(f"cp -r {site.values()['CODE']} {here}")
        steps += kits.steps(kit, site, here if kit.is_beside else shlex.quote(_below(directory, kit.name)))
    yield "next:"
    yield from (f"  {typed(step)}" for step in dict.fromkeys(steps))
