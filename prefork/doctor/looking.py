"""Looking: reads a machine, what is to run on it, and what runs; all that is read stands in ``facts.py``.

It must not judge. Invariant: nothing is changed, nothing is waited for but what was asked for; what cannot be read is
remembered with the reason.
Read next: ``prefork/system/{sysctl,procfs,occupants,grouplimits,clocks}.py``, where single facts come from.
"""

import contextlib
import errno
import os
import platform
import pwd
import re
import select
import shutil
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata

from msgspec.structs import fields

from prefork import __version__
from prefork.address import Address
from prefork.binds import parse
from prefork.config.instance import Instance
from prefork.config.service import Service
from prefork.config.units import parse_bytes, parse_seconds
from prefork.control.messages import ServiceStatus
from prefork.control.report import Report
from prefork.doctor.facts import Facts, FilePlace, Place, Running, Unit, Wanted
from prefork.doctor.unit_file import ask_systemd
from prefork.rehearsal import Outcome, rehearse
from prefork.system import clocks, cpus, grouplimits, occupants, procfs, sockets, stdio, sysctl
from prefork.system.procfs import Limit

_SETTINGS = (
    "fs.file-nr",
    "net.core.rmem_default",
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_migrate_req",
    "net.ipv4.tcp_syncookies",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
    "vm.overcommit_memory",
)
_PACKAGES = ("click", "msgspec", "psutil", "setproctitle", "prometheus-client", "rich")
_MANY = 100_000  # a limit of processes that is no limit in practice, and not worth counting for
_UNIT_FILES = Limit(1024, 524288)  # DefaultLimitNOFILE=, systemd-system.conf(5)


def look(
    instance: Instance | None = None,
    report: Report | None = None,
    unit: Unit | None = None,
    loads: bool = True,
) -> Facts:
    """:param instance: that is to run; ``None`` where only what runs is looked at, or the machine alone.
    :param report: of the instance that runs, if one does.
    :param unit: that starts it, where it was named.
    :param loads: whether each application is loaded, in a child.
    """
    unread: dict[str, str] = {}
    running = None if report is None else _running(report, unread)
    services = tuple(_wanted(name, service) for name, service in instance.service.items()) if instance else ()
    if not services and report is not None:
        services = tuple(_wanted_by(status) for status in report.snapshot.services)
    limits = _limits(unit if running is None else None)
    places = () if instance is None else tuple(_places(instance, running))
    if instance is None and running is not None:
        places = tuple(Place(s.name, bind, "ours") for s in services for bind in s.binds)
    return Facts(
        numbers=_numbers(unread),
        words=_words(unread),
        unread=unread,
        user=_user(),
        is_root=os.geteuid() == 0,
        limits=limits,
        threads_of_user=_threads_of_user(limits),
        group=grouplimits.look(report.snapshot.pid if report else None),
        packages={name: _version(name) for name in _PACKAGES},
        installed=__version__,
        services=services,
        instance=instance,
        descriptors=instance.descriptors if instance else 0,
        name_held=_holder_of_name(instance, running),
        loads=_loads(instance) if loads and instance is not None else {},
        places=places,
        files=() if instance is None else tuple(_files(instance, running)),
        unit=unit or (_unit_of(running, unread) if running else None),
        running=running,
    )


# the machine


def _numbers(unread: dict[str, str]) -> Mapping[str, tuple[float, ...]]:
    numbers: dict[str, tuple[float, ...]] = {}
    for name in _SETTINGS:
        with _remembered(name, unread):
            numbers[name] = tuple(sysctl.setting(name))
    with _remembered("counters", unread):
        numbers |= {name: (number,) for name, number in sysctl.counters().items()}
    with _remembered("MemTotal", unread):
        numbers |= {name: (number,) for name, number in procfs.meminfo().items()}
    with _remembered("is synchronised", unread):
        numbers["is synchronised"] = (clocks.is_synchronised(),)
    numbers["clock cost"] = (clocks.cost(),)
    numbers["suspended"] = (clocks.suspended(),)
    numbers["cpus"] = (cpus.usable().amount,)
    numbers["reserved ports"] = tuple(_reserved_ports())
    return numbers


def _reserved_ports() -> Iterator[int]:
    """``8080,9000-9010`` of ip-sysctl.rst; none where the kernel does not tell."""
    with contextlib.suppress(OSError, ValueError), open(f"{sysctl.SETTINGS}/net/ipv4/ip_local_reserved_ports") as file:
        for part in file.read().strip().split(","):
            first, _, last = part.partition("-")
            yield from range(int(first), int(last or first) + 1)


def _words(unread: dict[str, str]) -> Mapping[str, str]:
    words = {"python": platform.python_version(), "release": platform.release(), "missing calls": ", ".join(_missing())}
    with _remembered("clocksource", unread):
        words["clocksource"] = clocks.source()
    with _remembered("core_pattern", unread), open("/proc/sys/kernel/core_pattern") as file:
        words["core_pattern"] = file.read().strip()
    with (
        _remembered("transparent_hugepage", unread),
        open("/sys/kernel/mm/transparent_hugepage/enabled") as file,
    ):
        words["transparent_hugepage"] = file.read().partition("[")[2].partition("]")[0]
    return words


def _missing() -> Iterator[str]:
    """Calls of the kernel that do not work here."""
    calls: dict[str, Callable[[], int]] = {
        "pidfd_open": lambda: os.pidfd_open(os.getpid()),
        "memfd_create": lambda: os.memfd_create("prefork"),
        "eventfd": lambda: os.eventfd(0),
    }
    for name, call in calls.items():
        try:
            os.close(call())
        except (OSError, AttributeError):
            yield name
    try:
        select.epoll().close()
    except (OSError, AttributeError):
        yield "epoll_create"


@contextlib.contextmanager
def _remembered(name: str, unread: dict[str, str]) -> Iterator[None]:
    """What cannot be read is missing from now on, and why is known."""
    try:
        yield
    except PermissionError:
        unread[name] = "not readable as this user"
    except OSError as error:
        unread[name] = (error.strerror or str(error)).lower()


# who looks


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _limits(unit: Unit | None) -> Mapping[str, Limit]:
    """Of a master that is started from here; or by the unit, where one was named."""
    with contextlib.suppress(OSError):
        limits = procfs.limits()
        if unit is not None:
            limits["Max open files"] = _of_unit(unit)
        return limits
    return {}


def _of_unit(unit: Unit) -> Limit:
    """What systemd cannot read, or is empty, it takes for not said."""
    text = unit.values.get("LimitNOFILE", "").replace("infinity", str(procfs.UNLIMITED))
    told = re.fullmatch(r"(-1|\d+)(?::(-1|\d+))?", text)
    return Limit(int(told[1]), int(told[2] or told[1])) if told else _UNIT_FILES


def _threads_of_user(limits: Mapping[str, Limit]) -> int | None:
    limit = limits.get("Max processes")
    if os.geteuid() == 0 or limit is None or not 0 <= limit.soft < _MANY:
        return None
    return procfs.threads_of_user(os.geteuid())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# what is to run


def _wanted(name: str, service: Service) -> Wanted:
    threads, children = service.at_once
    soft = service.privileges.rlimits.get("nofile")
    concurrency = service.concurrency or "sync"
    _, most = service.bounds
    return Wanted(
        name,
        service.addresses,
        most=most,
        surge=service.max_surge or max(1, most // 4),
        concurrency=concurrency,
        at_once={"thread": threads, "fork": children}.get(concurrency, 1),
        backlog=service.backlog,
        graceful_timeout=service.graceful_timeout,
        memory_hard=service.memory_hard,
        memory_budget=service.memory_budget or 0,
        preload=service.preload,
        files=None if soft is None else soft[0],
        user=service.user,
    )


def _wanted_by(status: ServiceStatus) -> Wanted:
    """By what the running instance tells: settings that are not as by default."""
    told = status.settings
    most = max(status.wanted, status.configured[1])
    limits = [queue.limit for queue in status.queues if queue.limit]
    defaults = {field.name: field.default for field in fields(Service)}
    return Wanted(
        status.name,
        tuple(parse(bind) for bind in status.binds),
        most=most,
        surge=int(told.get("max_surge", 0)) or max(1, most // 4),
        concurrency=status.concurrency,
        at_once=status.at_once,
        backlog=int(told.get("backlog", min(limits, default=0))),
        graceful_timeout=parse_seconds(told.get("graceful_timeout", defaults["graceful_timeout"])),
        memory_hard=parse_bytes(told.get("memory_hard", 0)),
        memory_budget=parse_bytes(told.get("memory_budget", 0)),
        preload=told.get("preload") != "false",
    )


def _loads(instance: Instance) -> Mapping[str, Outcome]:
    return {name: rehearse(name, service, output=stdio.ERROR) for name, service in instance.service.items()}


def _holder_of_name(instance: Instance | None, running: Running | None) -> str:
    """The name of the instance, where another one has it."""
    if instance is None or running is not None or not instance.is_named:
        return ""
    return instance.name if (os.getuid(), instance.name) in sockets.held_names() else ""


def _places(instance: Instance, running: Running | None) -> Iterator[Place]:
    ours = {parse(bind) for status in running.report.snapshot.services for bind in status.binds} if running else set()
    ours |= {parse(bind) for bind in running.report.snapshot.admin} if running else set()
    wanted = [(name, address) for name, service in instance.service.items() for address in service.addresses]
    wanted += [("admin", instance.admin_address)] if instance.admin_address else []
    wanted += [("control", instance.control_address)] if instance.control_address else []
    for of, address in wanted:
        if running is not None and (address in ours or of == "control" or address._replace(port=0) in ours):
            yield Place(of, address, "ours")
        elif address.is_inherited:
            yield Place(of, address, "given")
        elif address.is_unix:
            yield _unix_place(of, address)
        else:
            yield _inet_place(of, address)


def _inet_place(of: str, address: Address) -> Place:
    error = occupants.refusal(address)
    if error is None:
        return Place(of, address, "free")
    why = (error.strerror or str(error)).lower()
    if error.errno == errno.EADDRINUSE:
        return Place(of, address, "taken", str(occupants.holder_of_port(address.scheme, address.port)))
    if error.errno in (errno.EACCES, errno.EPERM):
        return Place(of, address, "forbidden", why)
    return Place(of, address, "absent", why)


def _unix_place(of: str, address: Address) -> Place:
    try:
        if address.is_abstract:
            is_taken = occupants.is_served_by_name(address.path)
            return Place(of, address, "taken" if is_taken else "free", "another process")
        state = occupants.occupancy(address.path)
    except PermissionError:
        return Place(of, address, "forbidden", f"{os.path.dirname(address.path)} may not be entered")
    except OSError as error:
        return Place(of, address, "unknown", f"cannot be seen: {(error.strerror or str(error)).lower()}")
    directory = os.path.dirname(os.path.abspath(address.path))
    if not os.path.isdir(directory):
        return Place(of, address, "no directory")
    if not os.access(directory, os.W_OK | os.X_OK):
        return Place(of, address, "forbidden", f"{directory} is not writable")
    return Place(of, address, {"nothing": "free", "served": "taken"}.get(state, state), "another process")


def _files(instance: Instance, running: Running | None) -> Iterator[FilePlace]:
    access = instance.logs.access if instance.logs.has_access_file else ""
    for of, path in (("log_file", instance.logs.file), ("access_log", access), ("pid", instance.pid)):
        if path:
            yield _file(of, os.path.abspath(path), running)


def _file(of: str, path: str, running: Running | None) -> FilePlace:
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        return FilePlace(of, path, "no directory")
    usage = shutil.disk_usage(directory)
    free = usage.free / usage.total if usage.total else 1.0
    written = path if os.path.exists(path) else directory
    if not os.access(written, os.W_OK):
        return FilePlace(of, path, "not writable", written, free)
    state, detail = _pid_state(path, running) if of == "pid" else ("good", "")
    return FilePlace(of, path, state, detail, free)


def _pid_state(path: str, running: Running | None) -> tuple[str, str]:
    try:
        with open(path, "rb") as file:
            text = file.read(32)
        if text.strip(b"0123456789 \n"):
            return "odd", ""
        locker = procfs.locker_of(path)
    except FileNotFoundError:
        return "good", "not there, as it should be"
    except OSError as error:
        return "good", f"its lock could not be read: {error.strerror}"
    if locker is None:
        return "good", f"left by a dead process, {text.decode().strip() or 'empty'}; the next start replaces it"
    if running is not None and locker == running.report.snapshot.pid:
        return "good", "held by this instance"
    return "held", f"process {locker} has it"


# what runs


def _running(report: Report, unread: dict[str, str]) -> Running:
    snapshot = report.snapshot
    worker = next((w.pid for workers in report.workers.values() for w in workers if w.pid), None)
    limits: Mapping[str, Limit] = {}
    worker_limits: Mapping[str, Limit] = {}
    has_lost_program, unit, swapped = False, "", 0
    with _remembered("limits of the instance", unread):
        limits = procfs.limits(snapshot.pid)
    with _remembered("limits of a worker", unread):
        worker_limits = procfs.limits(worker) if worker else {}
    with _remembered("program of the master", unread):
        has_lost_program = procfs.has_lost_program(snapshot.pid)
    with _remembered("unit of the master", unread):
        unit = procfs.service_of(snapshot.pid)
    with _remembered("swapped memory", unread):
        swapped = sum(procfs.swapped_bytes(pid) for pid in report.pids)
    return Running(
        report,
        limits=limits,
        worker_limits=worker_limits,
        mold_threads=dict(_mold_threads(report)),
        has_lost_program=has_lost_program,
        lost_paths=tuple(_lost_paths(report)),
        swapped=swapped,
        unit=unit,
    )


def _mold_threads(report: Report) -> Iterator[tuple[str, int]]:
    for process in report.snapshot.processes:
        if process.kind == "mold":
            with contextlib.suppress(OSError):
                yield f"{process.service} g{process.generation}", procfs.threads(process.pid)


def _lost_paths(report: Report) -> Iterator[str]:
    """A path that is gone, or that is a socket of nobody: the master listens, and no client can know where."""
    for status in report.snapshot.services:
        for address in map(parse, status.binds):
            if address.is_unix and not address.is_abstract:
                with contextlib.suppress(OSError):
                    if not os.path.lexists(address.path):
                        yield address.path


def _unit_of(running: Running, unread: dict[str, str]) -> Unit | None:
    if not running.unit:
        return None
    with _remembered("unit", unread):
        return ask_systemd(running.unit)
    return None
