"""Checks of a service unit of systemd, against what a master does when it starts, reloads, stops and dies.

It must not read anything. Sources: systemd.service(5), systemd.kill(5), systemd.exec(5).
Read next: ``unit_file.py``, how a unit is read; ``checks.py``, the order they are made in.
"""

import re

from prefork.doctor.commands import set_in_unit
from prefork.doctor.facts import Facts, Unit
from prefork.doctor.findings import Findings, bites, fine, note

_DEFAULT_STOP = 90.0  # DefaultTimeoutStopSec=
_NOTIFYING = ("notify", "notify-reload")
_UNITS = {
    "us": 1e-6,
    "ms": 1e-3,
    "": 1.0,
    "s": 1.0,
    "sec": 1.0,
    "min": 60.0,
    "m": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "d": 86400.0,
}
_MARGIN = 15


def seconds(text: str) -> float:
    """A time span of systemd, ``5min 20s``; systemd.time(7).

    :raises ValueError: it is none.
    """
    if text.strip() in ("infinity", "0"):
        return float("inf")
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text)
    if (
        not parts
        or "".join(f"{n}{u}" for n, u in parts) != text.replace(" ", "")
        or any(u not in _UNITS for _, u in parts)
    ):
        raise ValueError(f"{text!r} is no time span")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def type_of_start(facts: Facts) -> Findings:
    """Type=: whether systemd knows when the service is ready."""
    if facts.unit is None:
        return
    kind = facts.unit.values.get("Type", "simple")
    if kind in _NOTIFYING:
        yield fine(f"Type={kind}")
    elif kind in ("forking", "oneshot", "dbus"):
        why = "the master stays in the foreground and has no bus name: the start would time out"
        yield bites(f"Type={kind}", why, *set_in_unit(facts, "Type=notify"))
    else:
        why = "systemd takes it for started before a worker is ready, and a failed start for a good one"
        yield note(f"Type={kind}", why, *set_in_unit(facts, "Type=notify"))


def stop_signal(facts: Facts) -> Findings:
    """KillMode= and KillSignal=: whether a stop is the master's affair."""
    if facts.unit is None:
        return
    mode = facts.unit.values.get("KillMode", "control-group")
    signal = facts.unit.values.get("KillSignal", "SIGTERM")
    if signal not in ("SIGTERM", "15"):
        why = "only TERM stops it gracefully: INT and QUIT leave a second, others what the system says"
        yield bites(f"KillSignal={signal}", why, *set_in_unit(facts, "KillSignal=SIGTERM"))
    if mode == "process":
        yield fine(f"KillMode={mode}")
    elif mode == "mixed":
        why = "when the master is killed, systemd kills its workers too, and the requests that they would have finished"
        yield note(f"KillMode={mode}", why, *set_in_unit(facts, "KillMode=process"))
    elif mode == "none":
        why = "a master that hangs at a stop is never ended, and holds the addresses"
        yield bites(f"KillMode={mode}", why, *set_in_unit(facts, "KillMode=process"))
    else:
        why = (
            "TERM goes to workers too, whom the master tells; and after its death all clients wait for the last of them"
        )
        yield note(f"KillMode={mode}", why, *set_in_unit(facts, "KillMode=process"))


def stop_timeout(facts: Facts) -> Findings:
    """TimeoutStopSec=, against graceful_timeout: who ends a request that takes too long at a stop."""
    if facts.unit is None:
        return
    text = facts.unit.values.get("TimeoutStopSec", facts.unit.values.get("TimeoutSec", ""))
    try:
        limit = seconds(text) if text else _DEFAULT_STOP
    except ValueError as error:
        yield bites(str(error), "systemd ignores it", *set_in_unit(facts, "TimeoutStopSec=90"))
        return
    graceful = max((service.graceful_timeout for service in facts.services), default=30.0)
    shown = f"TimeoutStopSec={text or f'{limit:g}s by default'}, graceful_timeout {graceful:g}s"
    remedy = set_in_unit(facts, f"TimeoutStopSec={int(graceful) + _MARGIN}")
    if limit > graceful:
        yield fine(shown)
    elif facts.unit.values.get("Type") in _NOTIFYING:
        why = "the master asks systemd for more time while its loop turns; it is better not to depend on that"
        yield note(shown, why, *remedy)
    else:
        yield bites(shown, "systemd kills the master before the last request had its time", *remedy)


def restart(facts: Facts) -> Findings:
    """Restart=: whether somebody starts it again."""
    if facts.unit is None:
        return
    value = facts.unit.values.get("Restart", "no")
    if value in ("no", "on-success"):
        why = "nobody starts it again when the master is killed"
        yield note(f"Restart={value}", why, *set_in_unit(facts, "Restart=on-failure"))
    else:
        yield fine(f"Restart={value}")


def watchdog(facts: Facts) -> Findings:
    """WatchdogSec=: whether somebody notices a master that hangs."""
    if facts.unit is None:
        return
    value = facts.unit.values.get("WatchdogSec", "")
    if value in ("", "0", "infinity"):
        why = "workers serve on under a master that hangs, but nobody replaces one that dies"
        yield note("no WatchdogSec", why, *set_in_unit(facts, "WatchdogSec=30"))
    else:
        yield fine(f"WatchdogSec={value}")


def out_of_memory(facts: Facts) -> Findings:
    """OOMPolicy=: what systemd does when the kernel kills one worker for want of memory."""
    if facts.unit is None:
        return
    policy = facts.unit.values.get("OOMPolicy", "")
    if policy == "continue":
        yield fine(f"OOMPolicy={policy}")
    else:
        why = "systemd ends the whole service for one worker that the kernel killed, which the master would replace"
        yield bites(f"OOMPolicy={policy or 'stop by default'}", why, *set_in_unit(facts, "OOMPolicy=continue"))


def programs(facts: Facts) -> Findings:
    """ExecStart= and the like: whether the programs are there."""
    if facts.unit is None or "/" not in facts.unit.shown:  # of a unit that runs, systemd has seen to it
        return
    for program in facts.unit.programs_missing:
        yield bites(f"{program} is not there", "the start fails with 203/EXEC", "command -v prefork    # its path")
    if not facts.unit.programs_missing:
        yield fine("ExecStart is there" if "ExecStart" in facts.unit.values else "it has no ExecStart")


def sandbox(facts: Facts) -> Findings:
    """PrivateTmp= and ProtectSystem=, against paths of sockets and files: whether they can be made, and found."""
    if facts.unit is None:
        return
    hidden = [path for path in _paths(facts) if facts.unit.values.get("PrivateTmp") in _YES and _is_below(path, _TMP)]
    for path in hidden:
        why = "with PrivateTmp the service has a /tmp of its own: nobody else finds it there"
        yield bites(f"{path} is in a private /tmp", why, "# put it below /run, with RuntimeDirectory= in the unit")
    closed = [path for path in _paths(facts) if _is_closed(path, facts.unit) and path not in hidden]
    for path in closed:
        why = "with ProtectSystem the file system is read-only there: a start fails"
        place = path.rpartition("/")[0]
        yield bites(f"{path} is read-only", why, *set_in_unit(facts, f"ReadWritePaths={place}"))
    if not hidden and not closed:
        yield fine("hides nothing that it needs")


_YES = ("yes", "true", "on", "1")
_TMP = ("/tmp", "/var/tmp")
_CLOSED = {
    "strict": ("/",),
    "full": ("/usr", "/boot", "/efi", "/etc"),
    **dict.fromkeys(_YES, ("/usr", "/boot", "/efi")),
}
_OWN = {
    "RuntimeDirectory": "/run",
    "StateDirectory": "/var/lib",
    "CacheDirectory": "/var/cache",
    "LogsDirectory": "/var/log",
}


def _paths(facts: Facts) -> list[str]:
    binds = [place.address.path for place in facts.places if place.address.is_unix and not place.address.is_abstract]
    return binds + [file.path for file in facts.files]


def _is_closed(path: str, unit: Unit) -> bool:
    """Whether ProtectSystem= forbids to write there."""
    closed = _CLOSED.get(unit.values.get("ProtectSystem", ""), ())
    opened = [word.lstrip("-+") for word in unit.values.get("ReadWritePaths", "").split()]
    for directive, top in _OWN.items():
        opened += [f"{top}/{name.partition(':')[0]}" for name in unit.values.get(directive, "").split()]
    if unit.values.get("PrivateTmp") in _YES:
        opened += _TMP
    return _is_below(path, closed) and not _is_below(path, (*opened, "/dev", "/proc", "/sys"))


def _is_below(path: str, tops: tuple[str, ...]) -> bool:
    return any(f"{path}/".startswith(f"{top.rstrip('/')}/") for top in tops)


_LOW_PORTS = "CAP_NET_BIND_SERVICE"
_CAPABILITIES = ("AmbientCapabilities", "CapabilityBoundingSet")  # what is not in the second cannot be in the first


def _has_low_ports(value: str | None, name: str) -> bool:
    if value is None:
        return name == "CapabilityBoundingSet"  # all of them
    return value.startswith("~") != (_LOW_PORTS in value.upper())


def identity(facts: Facts) -> Findings:
    """User=: whether the service can become who it is to be, and have low ports."""
    if facts.unit is None:
        return
    user = facts.unit.values.get("User") or "root"
    is_root = user in ("root", "0")
    wanted = _CAPABILITIES[is_root:]  # root has what the second leaves
    missing = [name for name in wanted if not _has_low_ports(facts.unit.values.get(name), name)]
    troubled = not facts.unit.has_user and facts.unit.values.get("DynamicUser") not in _YES
    if troubled:
        why = "the start fails with 217/USER"
        yield bites(f"User={user} is not on this machine", why, f"sudo useradd --system --user-group {user}")
    for service in facts.services:
        if service.user and not is_root and user != service.user:
            troubled = True
            why = f"only root can become another: {service.name} ends with exit 2"
            yield bites(
                f"User={user}, [service.{service.name}] user = {service.user}",
                why,
                *set_in_unit(facts, f"User={service.user}"),
            )
    first = facts.numbers.get("net.ipv4.ip_unprivileged_port_start", (1024,))[0]
    low = [p.address for p in facts.places if p.address.scheme in ("tcp", "udp") and 0 < p.address.port < first]
    if low and missing:
        troubled = True
        who = f"for {_LOW_PORTS}, which the unit takes from root" if is_root else "for root"
        why = f"ports below {first:.0f} are {who}: a start ends with exit 4"
        remedies = [line for name in missing for line in set_in_unit(facts, f"{name}={_LOW_PORTS}")]
        yield bites(f"User={user}, and port {low[0].port}", why, *dict.fromkeys(remedies))
    if not troubled:
        yield fine(f"User={user}")
