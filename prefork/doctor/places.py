"""Checks of addresses, files and names: whether the instance may have them, and whether somebody else has.

It must not read anything. Read next: ``facts.py``; ``checks.py``, the order they are made in.
"""

import os

from prefork.address import Address
from prefork.doctor.facts import Facts, FilePlace, Place
from prefork.doctor.findings import Finding, Findings, bites, fine, note, skipped


def addresses(facts: Facts) -> Findings:
    """Each bind: whether it is free, whether this user may have it, and what is there already, a stale socket too."""
    for place in facts.places:
        yield _judge(place, facts)


def _judge(place: Place, facts: Facts) -> Finding:
    shown = f"{place.address}: "
    path = place.address.path
    match place.state:
        case "free":
            return fine(shown + "free")
        case "ours":
            return fine(shown + "served by this instance")
        case "given":
            return fine(shown + "given by whoever starts us")
        case "stale":
            why = "it was left by a dead process, and clients are refused; the next start replaces it"
            return note(shown + "a socket that nobody serves", why, f"rm {path}    # or start the service")
        case "taken":
            why = f"a start ends with exit 4, or 6 where it is the same instance; {place.detail} has it"
            return bites(shown + "taken", why, _who_has(place.address))
        case "forbidden":
            why = f"a start by {facts.user} ends with exit 4: {place.detail}"
            return bites(shown + "not allowed", why, _allow(place.address))
        case "absent":
            why = f"a start ends with exit 4: {place.detail}"
            return bites(shown + "this machine has no such address", why, "ip address    # what it has")
        case "no directory":
            why = "a start ends with exit 4: there is no such directory"
            return bites(shown + "no directory", why, f"sudo install -d -o {facts.user} {os.path.dirname(path)}")
        case "no socket":
            why = "a start ends with exit 4: something that is no socket is there, and is not removed"
            return bites(shown + "something else is there", why, f"ls -ld {path}")
        case _:
            return skipped(shown + place.detail)


def _who_has(address: Address) -> str:
    if address.is_unix:
        return f"ss -xlp src {address.path}"
    return f"ss -{'t' if address.is_stream else 'u'}lnp 'sport = :{address.port}'"


def _allow(address: Address) -> str:
    if address.is_unix:
        return _own(os.path.dirname(address.path))
    return f"sudo sysctl -w net.ipv4.ip_unprivileged_port_start={address.port}"


def _own(directory: str) -> str:
    """Not to be given away: others may have their files there."""
    return f"ls -ld {directory}    # choose a directory of that user's"


def lost_sockets(facts: Facts) -> Findings:
    """Unix sockets of the running instance whose path was removed under it."""
    if facts.running is None:
        return
    for path in facts.running.lost_paths:
        why = "clients cannot find it any more, though the service listens; something tidies that directory"
        name = facts.running.report.snapshot.name
        yield bites(
            f"{path} is gone", why, f"prefork stop -n {name}    # and start it; keep sockets in /run, not in /tmp"
        )
    if not facts.running.lost_paths:
        yield fine("all are where clients look for them")


def files(facts: Facts) -> Findings:
    """Log files and the pid file: whether this user may write them, and whether another process holds one."""
    for file in facts.files:
        yield _judge_file(file, facts)


def _judge_file(file: FilePlace, facts: Facts) -> Finding:
    shown = f"{file.of} {file.path}: "
    directory = os.path.dirname(file.path)
    match file.state:
        case "good":
            return fine(shown + (file.detail or "writable"))
        case "no directory":
            return bites(
                shown + "no directory", "a start ends with exit 2", f"sudo install -d -o {facts.user} {directory}"
            )
        case "held":
            return bites(
                shown + "held by another process", f"a start ends with exit 6; {file.detail}", f"cat {file.path}"
            )
        case "odd":
            why = "a start ends with exit 2, and does not overwrite it"
            return bites(shown + "it holds something else than a pid", why, f"head {file.path}")
        case _:
            why = f"a start by {facts.user} ends with exit 2: {file.detail} is not writable"
            remedy = f"sudo chown {facts.user} {file.path}" if file.detail == file.path else _own(directory)
            return bites(shown + "not writable", why, remedy)


def name(facts: Facts) -> Findings:
    """Whether another instance holds the name."""
    if facts.name_held:
        why = "a start ends with exit 6; whoever has it serves something else, or does not answer"
        yield bites(f"{facts.name_held} is held", why, f"prefork status -n {facts.name_held}")
    elif facts.instance is not None and facts.running is None:
        yield fine(f"{facts.instance.name} is free" if facts.instance.is_named else "none was given")
