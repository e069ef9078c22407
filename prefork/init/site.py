"""A site: what of a service and its machine is filled into the templates, each by its name.

It must not know a template. Invariant: each value is one word, or one line, wherever it is filled in.
Read next: ``templates.py``, how; ``kits.py``, which files there are.
"""

import grp
import os
import pwd
import sys
from collections.abc import Sequence
from typing import NamedTuple

from prefork.address import Address, parse
from prefork.config.instance import Instance
from prefork.config.service import Service

DEFAULT_BIND = "tcp://127.0.0.1:9000"
DEFAULT_ADMIN = "tcp://127.0.0.1:9100"
MARGIN = 10  # seconds that a service manager waits beyond our own limit, so that it is us who end a request
_HOMES = ("/home/", "/root/", "/run/user/")  # of ProtectHome=, systemd.exec(5)
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where one reaches what listens everywhere


class Site(NamedTuple):
    """One instance where it runs.

    :param program: that runs it, as one types it.
    :param config: the full path of its ``prefork.toml``.
    :param directory: the working directory, where its modules are.
    :param binds: of all its services.
    :param admin: where health and metrics are; ``None`` for nowhere.
    :param at_once: requests that it serves at once, at most.
    :param graceful_timeout: the longest of its services, in seconds.
    :param descriptors: that its master may come to hold.
    :param writes_into: directories of its log files and its pid file.
    """

    name: str
    target: str
    program: str
    config: str
    directory: str
    user: str
    group: str
    binds: tuple[Address, ...]
    admin: Address | None = None
    at_once: int = 4
    graceful_timeout: float = 30.0
    descriptors: int = 1024
    writes_into: frozenset[str] = frozenset()

    @property
    def socket_names(self) -> list[str]:
        """A socket unit each, and what ``systemd:`` binds call it."""
        return [self.name if number == 1 else f"{self.name}-{number}" for number in range(1, len(self.binds) + 1)]

    @property
    def _lives_at_home(self) -> bool:
        """Whether it needs what a unit may hide: what people have in their home directories."""
        return any(path.startswith(_HOMES) for path in (self.program, self.config, self.directory))

    def values(self) -> dict[str, str]:
        """What stands in templates, by its name there."""
        address = next((bind for bind in self.binds if bind.is_stream), self.binds[0])
        admin = self.admin or parse(DEFAULT_ADMIN)
        return {
            "NAME": self.name,
            "TARGET": self.target,
            "PROGRAM": self.program,
            "CONFIG": self.config,
            "DIRECTORY": self.directory,
            "USER": self.user,
            "GROUP": self.group,
            "LISTEN": _host_and_port(address),
            "UPSTREAM": _reached(address),
            "PORT": str(address.port),
            "SOCKET": address.path if address.is_unix else f"/run/{self.name}/{self.name}.sock",
            "ADMIN": _reached(admin),
            "ADMIN_PORT": str(admin.port),
            "AT_ONCE": str(self.at_once),
            "STOP_SECONDS": str(int(self.graceful_timeout) + MARGIN),
            "DESCRIPTORS": str(self.descriptors),
            "PROTECT_HOME": "read-only" if self._lives_at_home else "true",
            "WRITABLE": "\n".join(f"ReadWritePaths={path}" for path in sorted(self.writes_into)),
            "SOCKET_UNITS": " ".join(f"{name}.socket" for name in self.socket_names),
        }


# the one that deploy/ of the project is filled in for
EXAMPLE = Site(
    name="shop",
    target="shop:Handler",
    program="/opt/prefork/bin/prefork",
    config="/etc/prefork/shop.toml",
    directory="/srv/shop",
    user="shop",
    group="shop",
    binds=(parse("tcp://0.0.0.0:9000"),),
    admin=parse(DEFAULT_ADMIN),
    descriptors=4096,
)


def site_of(instance: Instance, config: str, directory: str, user: str, group: str) -> Site:
    """The site of an instance on this machine.

    :param user: empty is whoever asks; ``group`` likewise that user's.
    """
    services = list(instance.service.values())
    user = user or _ourselves(instance.name)
    return Site(
        name=instance.name,
        target=services[0].target,
        program=program(),
        config=os.path.abspath(config),
        directory=os.path.abspath(directory),
        user=user,
        group=group or _group_of(user),
        binds=tuple(address for service in services for address in service.addresses),
        admin=instance.admin_address,
        at_once=max(_at_once(service) for service in services),
        graceful_timeout=max(service.graceful_timeout for service in services),
        writes_into=frozenset(os.path.dirname(os.path.abspath(path)) for path in _files_of(instance)),
        descriptors=max(EXAMPLE.descriptors, instance.descriptors),
    )


def _at_once(service: Service) -> int:
    threads, children = service.at_once
    return service.bounds[1] * {"thread": threads, "fork": children}.get(service.concurrency or "sync", 1)


def _files_of(instance: Instance) -> list[str]:
    """That its processes write, or make, while they run."""
    access = [instance.logs.access] if instance.logs.has_access_file else []
    return [path for path in (instance.logs.file, instance.pid, *access) if path]


def program() -> str:
    """The program that runs now, as a unit has to call it."""
    beside = os.path.join(os.path.dirname(sys.executable), "prefork")
    return beside if os.access(beside, os.X_OK) else f"{sys.executable} -m prefork"


def _ourselves(name: str) -> str:
    """Who asks; nobody wants a service of root's, so for root it is a user of the service's name."""
    if os.getuid() == 0:
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _group_of(user: str) -> str:
    try:
        return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    except KeyError:  # made later: by the same name, as useradd does
        return user


def _host_and_port(address: Address) -> str:
    if address.is_unix:
        return address.path
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def _reached(address: Address) -> str:
    return _host_and_port(address._replace(host=_ANYWHERE.get(address.host, address.host)))


def has_user(name: str) -> bool:
    """Whether this machine has such a user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return name.isdecimal()
    return True


def listening(binds: Sequence[Address]) -> list[dict[str, str]]:
    """What a socket unit says of each bind."""
    return [_directives(bind) for bind in binds]


def _directives(bind: Address) -> dict[str, str]:
    kind = "Stream" if bind.is_stream else "Datagram"
    lines = [f"Listen{kind}={_host_and_port(bind)}"]
    if bind.is_unix and not bind.is_abstract:
        lines += [f"SocketMode={bind.mode:04o}"]
        lines += [f"Socket{key}={value}" for key, value in (("User", bind.user), ("Group", bind.group)) if value]
    if bind.v6only is not None:
        lines += [f"BindIPv6Only={'ipv6-only' if bind.v6only else 'both'}"]
    if bind.scheme == "tcp":
        lines += ["NoDelay=true"]
    return {"LISTEN_DIRECTIVES": "\n".join(lines)}
