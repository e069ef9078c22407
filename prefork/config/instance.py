"""What can be set of an instance, one master and its services: one frozen record, checked where it is born.

It must not know where a value came from; ``sources.py`` does.
Invariant: a record of these is valid, so nothing behind it checks again.
Read next: ``service.py``, each of the services; ``logs.py``, what the settings of logs come to.
"""

import os
from typing import Literal

import msgspec

from prefork.address import Address
from prefork.binds import UNIX_PATH_MAX, parse
from prefork.config import logs
from prefork.config.service import Service, refuse_twice
from prefork.system.logs import Logs

NO_CONTROL = "none"  # no control socket
LONGEST_NAME = 60  # bytes; with the uid it must fit into an abstract socket's name


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One master and its services.

    :param name: in titles, logs and the exclusive name.
    :param pid: path of the pid file; empty for none.
    :param control: path of the control socket, or ``none``; empty leaves it where commands find it by the name.
    :param admin: the URL where the admin process listens; empty for none.
    :param is_named: whether the name was given, so that a second instance of it is refused.
    :param logs: what the settings from ``log_file`` to ``capture_output`` come to.
    """

    service: dict[str, Service]
    name: str = "prefork"
    log_file: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"
    log_to: Literal["stderr", "syslog", "journald"] = "stderr"
    log_syslog_to: str = logs.DEFAULT_SYSLOG
    log_syslog_facility: str = "user"
    access_log: str = "none"
    capture_output: bool = False
    control: str = ""
    admin: str = ""
    pid: str = ""
    is_named: bool = False
    logs: Logs = Logs()

    def __post_init__(self) -> None:
        if not self.service:
            raise ValueError("service: none is configured; add a [service.NAME] table with a target and a bind")
        _refuse_odd_name("name", self.name)
        for name in self.service:
            _refuse_odd_name("service", name)
        try:
            refuse_twice(address for service in self.service.values() for address in service.addresses)
        except ValueError as error:
            raise ValueError(f"bind: {error}") from None
        _refuse_odd_path("control", self.control)
        self._refuse_odd_admin()
        self._settle_logs()

    def _settle_logs(self) -> None:
        """:raises ValueError: a setting makes no sense, or not beside another."""
        settled = logs.settle(
            log_file=self.log_file,
            log_to=self.log_to,
            log_syslog_to=self.log_syslog_to,
            log_syslog_facility=self.log_syslog_facility,
            log_level=self.log_level,
            log_format=self.log_format,
            access_log=self.access_log,
            capture_output=self.capture_output,
        )
        msgspec.structs.force_setattr(self, "logs", settled)

    def _refuse_odd_admin(self) -> None:
        """:raises ValueError: it is none of the addresses that speak HTTP, or a service has it."""
        try:
            address = self.admin_address
        except ValueError as error:
            raise ValueError(f"admin: {error}") from None
        if address is None:
            return
        if not address.is_stream:
            remedy = "write it as tcp://127.0.0.1:9190 or unix:/run/shop/admin.sock"
            raise ValueError(f"admin: {self.admin!r} is no address for HTTP; {remedy}")
        for name, service in self.service.items():
            if address in service.addresses and (address.is_unix or address.port):
                raise ValueError(f"admin: {address} is a bind of the service {name} too; give one of them another")

    @property
    def descriptors(self) -> int:
        """How many its master may come to hold: one a worker, surge and all else that is open, and room to scale."""
        return 256 + 2 * sum(service.bounds[1] + len(service.bind) for service in self.service.values())

    @property
    def control_address(self) -> Address | None:
        """Of the control socket, where it has a path."""
        return None if self.control in ("", NO_CONTROL) else Address("unix", path=self.control, mode=0o600)

    @property
    def admin_address(self) -> Address | None:
        """Where the admin process listens, if there is one.

        :raises ValueError: it is no address; never of a record that is made.
        """
        return parse(self.admin) if self.admin else None


def _refuse_odd_path(field: str, path: str) -> None:
    """A path of a control socket is a plain one.

    :raises ValueError: it is too long, or no path at all.
    """
    if "\0" in path or len(os.fsencode(path)) > UNIX_PATH_MAX:
        raise ValueError(f"{field}: {path!r} is no path of a socket; write one of at most {UNIX_PATH_MAX} bytes")
    if path and path != NO_CONTROL and "/" not in path and not path.startswith("@"):
        raise ValueError(f"{field}: {path!r} is neither a path nor {NO_CONTROL}; write it as /run/shop/control.sock")


def _refuse_odd_name(field: str, name: str) -> None:
    """A name goes into titles, log lines and the name of a socket.

    :raises ValueError: it would not fit there.
    """
    if not name or not all(c.isalnum() or c in "-_." for c in name):
        raise ValueError(f"{field}: {name!r} is no name; use letters, digits, '-', '_' and '.'")
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"{field}: {name!r} is too long; write a shorter one, of at most {LONGEST_NAME} bytes")
