"""A site: what of a service and its machine is filled into the templates, each by its name.

It must not know a template. Invariant: each value is one word, or one line, wherever it is filled in.
Read next: ``templates.py``, how; ``kits.py``, which files there are.
"""

import grp
import os
import pwd
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from prefork.address import Address
from prefork.binds import parse
from prefork.config.instance import Instance
from prefork.config.service import Service

DEFAULT_BIND = "tcp://127.0.0.1:9000"
ANYWHERE_BIND = "tcp://0.0.0.0:9000"  # in a container, whose loopback nobody else has
DEFAULT_ADMIN = "tcp://127.0.0.1:9190"
MARGIN = 15  # seconds that a service manager waits beyond our own limit, so that it is us who end a request
_PRIVILEGED = 1024  # ports below it are for root, or for who has the capability
_AS_MODULE = " -m prefork"
_HOMES = ("/home/", "/root/", "/run/user/")  # of ProtectHome=, systemd.exec(5)
_PLAIN = re.compile(r"[\w@+=:,./-]*")  # letters, digits and marks that mean nothing in any of the files
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where one reaches what listens everywhere


Values = Mapping[str, str | None]


class Site(NamedTuple):
    """One instance where it runs.

    :param program: that runs it, as one types it.
    :param config: the full path of its ``prefork.toml``.
    :param directory: the working directory, where its modules are.
    :param binds: of all its services.
    :param admin: where health and metrics are; ``None`` for nowhere.
    :param at_once: requests that it serves at once, at most.
    :param graceful_timeout: the longest of its services, in seconds.
    :param logs: full paths of its log files, and ``others`` of what else it makes.
    :param opens_sockets: whether systemd opens its binds; else it does so itself.
    :param has_code: whether the module of its target is in the working directory.
    :param description: what it does, in a few words.
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
    logs: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    opens_sockets: bool = True
    has_code: bool = True
    description: str = ""

    @property
    def socket_names(self) -> list[str]:
        """A socket unit for each bind that systemd is to open, and what ``systemd:`` binds call it."""
        if not self.opens_sockets:
            return []
        return [self.name if number == 1 else f"{self.name}-{number}" for number in range(1, len(self.binds) + 1)]

    @property
    def _lives_at_home(self) -> bool:
        """Whether it needs what a unit may hide: what people have in their home directories."""
        return any(path.startswith(_HOMES) for path in (self.program, self.config, self.directory))

    @property
    def doors(self) -> list[Address]:
        """Binds that a proxy can connect to, and a file can name."""
        return [
            bind
            for bind in self.binds
            if (bind.scheme == "tcp" and bind.port) or (bind.scheme == "unix" and not bind.is_abstract)
        ]

    @property
    def low_ports(self) -> list[int]:
        """Those that only root may bind, and that the master binds itself."""
        own = [*(() if self.opens_sockets else self.binds), *((self.admin,) if self.admin else ())]
        return [bind.port for bind in own if bind.scheme in ("tcp", "udp") and 0 < bind.port < _PRIVILEGED]

    @property
    def odd_words(self) -> list[str]:
        """Names and paths that would be several words, or mean something else, where they are filled in."""
        paths = (self.program.removesuffix(_AS_MODULE), self.config, self.directory, *self.logs, *self.others)
        words = (*paths, *(bind.path for bind in self.binds), self.user, self.group)
        return [word for word in words if not _PLAIN.fullmatch(word)]

    def values(self) -> Values:
        """What stands in templates, by its name there; ``None`` of what there is not."""
        sockets = " ".join(f"{name}.socket" for name in self.socket_names)
        return {
            "NAME": self.name,
            "TARGET": self.target,
            "PROGRAM": self.program,
            "CONFIG": self.config,
            "DIRECTORY": self.directory,
            "USER": self.user,
            "GROUP": self.group,
            "AT_ONCE": str(self.at_once),
            "STOP_SECONDS": str(int(self.graceful_timeout) + MARGIN),
            "GRACEFUL_SECONDS": f"{self.graceful_timeout:g}",
            "SOCKET_UNITS": sockets or None,
            "AFTER": f"network.target {sockets}".rstrip(),
            "PROTECT_HOME": "read-only" if self._lives_at_home else "yes",
            "WRITABLE": "\n".join(f"ReadWritePaths={path}" for path in sorted(self._writes_into)) or None,
            "LOW_PORTS": " and ".join(map(str, sorted(set(self.low_ports)))) or None,
            "LOW_PORT": "" if self.low_ports else None,
            "CAPABILITIES": "CAP_NET_BIND_SERVICE" if self.low_ports else "",
            **self._doors(),
            **self._admin_values(),
            **self._log_values(),
            **self._code_values(),
        }

    def _doors(self) -> Values:
        """Where it listens, and where those in front of it reach it, by TCP, by a Unix socket, or by both."""
        tcp = next((bind for bind in self.doors if bind.scheme == "tcp"), None)
        unix = next((bind for bind in self.doors if bind.scheme == "unix"), None)
        listen, upstream = (_host_and_port(tcp), _reached(tcp)) if tcp else (None, None)
        return {
            "LISTEN": listen,
            "UPSTREAM": upstream,
            "PORT": str(tcp.port) if tcp else None,
            "BINDS": " and ".join(map(str, self.binds)),
            "SOCKET": unix.path if unix else f"/run/{self.name}/{self.name}.sock",
            "TCP": "" if tcp else None,
            "HAS_SOCKET": "" if unix else None,
            "TCP_ALONE": "" if tcp and not unix else None,
            "SOCKET_ALONE": "" if unix and not tcp else None,
            "BOTH": "" if unix and tcp else None,
        }

    def _admin_values(self) -> Values:
        admin = self.admin or parse(DEFAULT_ADMIN)
        reached = _reached(admin)
        return {"ADMIN": reached, "ADMIN_HOST": reached.rpartition(":")[0], "ADMIN_PORT": str(admin.port)}

    def _log_values(self) -> Values:
        directories = {os.path.dirname(path) for path in self.logs}
        is_one = len(directories) == 1 and all(path.endswith(".log") for path in self.logs)
        directory = min(directories, default=f"/var/log/{self.name}")
        return {
            "LOG_DIRECTORY": directory,
            "LOG_FILES": f"{directory}/*.log" if is_one or not self.logs else " ".join(sorted(self.logs)),
        }

    def _code_values(self) -> Values:
        """What of the working directory goes into an image: the module, or the package, of the target."""
        module = self.target.partition(":")[0].partition(".")[0]
        is_package = os.path.isdir(os.path.join(self.directory, module))
        home = f"/srv/{self.name}/"
        return {
            "CODE": (module if is_package else f"{module}.py") if self.has_code else None,
            "CODE_NAME": module if is_package or not self.has_code else f"{module}.py",
            "DESCRIPTION": self.description or self.target,
            "CODE_HOME": f"{home}{module}/" if is_package else home,
        }

    @property
    def _writes_into(self) -> set[str]:
        return {os.path.dirname(path) for path in (*self.logs, *self.others)}


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
    description="orders over HTTP",
)


def site_of(instance: Instance, config: str, directory: str, user: str, group: str) -> Site:
    """The site of an instance on this machine.

    :param user: empty is that of the services, or whoever asks; ``group`` likewise that user's.
    """
    services = list(instance.service.values())
    user = user or services[0].user or _ourselves(instance.name)
    return Site(
        name=instance.name,
        target=services[0].target,
        program=program(),
        config=os.path.abspath(config),
        directory=os.path.abspath(directory),
        user=user,
        group=group or services[0].group or _group_of(user),
        binds=tuple(address for service in services for address in service.addresses),
        admin=instance.admin_address,
        at_once=max(_at_once(service) for service in services),
        graceful_timeout=max(service.graceful_timeout for service in services),
        logs=tuple(path for path in (instance.logs.file, _access_file(instance)) if path),
        others=(os.path.abspath(instance.pid),) if instance.pid else (),
        has_code=_has_code(directory, services[0].target),
    )


def _at_once(service: Service) -> int:
    threads, children = service.at_once
    return service.bounds[1] * {"thread": threads, "fork": children}.get(service.concurrency or "sync", 1)


def _access_file(instance: Instance) -> str:
    return instance.logs.access if instance.logs.has_access_file else ""


def _has_code(directory: str, target: str) -> bool:
    module = os.path.join(directory, target.partition(":")[0].partition(".")[0])
    return os.path.isdir(module) or os.path.isfile(f"{module}.py")


def program() -> str:
    """The program that runs now, as a unit has to call it."""
    beside = os.path.join(os.path.dirname(sys.executable), "prefork")
    return beside if os.access(beside, os.X_OK) else f"{sys.executable}{_AS_MODULE}"


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


def listening(binds: Sequence[Address]) -> list[Values]:
    """What a socket unit says of each bind."""
    return [
        {"LISTEN_DIRECTIVES": "\n".join(_directives(bind)), "IS_TCP": "" if bind.scheme == "tcp" else None}
        for bind in binds
    ]


def _directives(bind: Address) -> Iterator[str]:
    yield f"Listen{'Stream' if bind.is_stream else 'Datagram'}={_host_and_port(bind)}"
    if bind.is_unix and not bind.is_abstract:
        yield f"SocketMode={bind.mode:04o}"
        yield from (f"Socket{key}={value}" for key, value in (("User", bind.user), ("Group", bind.group)) if value)
    if bind.v6only is not None:
        yield f"BindIPv6Only={'ipv6-only' if bind.v6only else 'both'}"
