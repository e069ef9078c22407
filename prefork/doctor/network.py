"""Checks of what the kernel does with clients before a worker has them.

It must not read anything. Read next: ``facts.py``; ``checks.py``, the order they are made in.
"""

from prefork.doctor.commands import set_sysctl
from prefork.doctor.facts import Facts, UnknownError
from prefork.doctor.findings import Findings, bites, fine, note

_SHORT = 1024  # connections: with fewer a burst is soon turned away
_NEARLY = 0.8
_DATAGRAM = 1280  # bytes that the kernel accounts one of 300 with, see prefork/system/queues.py
_FEW_DATAGRAMS = 100


def backlog(facts: Facts) -> Findings:
    """net.core.somaxconn, to which the kernel cuts a longer ``backlog`` without a word."""
    highest = facts.number("net.core.somaxconn")
    cut = [s for s in facts.services if s.backlog > highest and any(bind.is_stream for bind in s.binds)]
    for service in cut:
        why = f"clients of {service.name} are turned away when {highest:.0f} wait, and not {service.backlog}"
        yield bites(
            f"somaxconn {highest:.0f}, backlog {service.backlog}",
            why,
            set_sysctl("net.core.somaxconn", service.backlog),
            "# and restart it: a listener keeps the queue it was made with",
        )
    if not cut and highest < _SHORT and (facts.streams or not facts.services):
        why = f"clients are turned away when {highest:.0f} wait; a burst, or a moment without workers, is enough"
        yield note(f"somaxconn {highest:.0f}", why, set_sysctl("net.core.somaxconn", 4096))
    elif not cut:
        yield fine(f"somaxconn {highest:.0f}" + "".join(f", {s.name} {s.backlog}" for s in facts.services))


def handshakes(facts: Facts) -> Findings:
    """SYN cookies: whether clients get through while somebody floods the queue of handshakes."""
    cookies = facts.number("net.ipv4.tcp_syncookies")
    if cookies:
        yield fine(f"tcp_syncookies {cookies:.0f}")
        return
    most = facts.number("net.ipv4.tcp_max_syn_backlog")
    why = f"beyond {3 * most / 4:.0f} handshakes under way new clients are dropped; a flood of them is cheap"
    yield note("tcp_syncookies 0", why, set_sysctl("net.ipv4.tcp_syncookies", 1))


def full_queues(facts: Facts) -> Findings:
    """What a client hears when the queue is full."""
    if facts.number("net.ipv4.tcp_abort_on_overflow"):
        why = "a client that finds the queue full is reset, instead of being let in a moment later"
        yield note("tcp_abort_on_overflow 1", why, set_sysctl("net.ipv4.tcp_abort_on_overflow", 0))
    else:
        yield fine("tcp_abort_on_overflow 0: a client tries again by itself")


def migration(facts: Facts) -> Findings:
    """net.ipv4.tcp_migrate_req, which saves the queue of a worker that dies, where each has a queue of its own."""
    state = facts.number("net.ipv4.tcp_migrate_req")
    yield fine(f"tcp_migrate_req {state:.0f}, which does not matter: workers share one queue, and it outlives them")


def turned_away(facts: Facts) -> Findings:
    """TcpExt.ListenOverflows and ListenDrops: clients of any program that found a queue full."""
    overflows, drops = facts.number("TcpExt.ListenOverflows"), facts.number("TcpExt.ListenDrops")
    if not overflows and not drops:
        yield fine("nobody, since this network began")
        return
    why = "somebody's queue was full, of whatever program; prefork status, and ss -ltn, show queues as they are now"
    shown = f"{overflows:.0f} found a queue full, {drops:.0f} dropped, of all programs since this network began"
    yield note(shown, why, "nstat -az TcpExtListenOverflows TcpExtListenDrops; ss -ltn")


def datagrams(facts: Facts) -> Findings:
    """The queue of a UDP socket, and datagrams that found no room in one."""
    if not facts.has_udp:
        return
    room = facts.number("net.core.rmem_default")
    fits = room / _DATAGRAM
    shown = f"rmem_default {room:.0f}: {fits:.0f} of 300 bytes"
    lost = 0.0
    try:
        lost = facts.number("Udp.RcvbufErrors")
    except UnknownError:
        shown += ", losses unknown"
    if lost or fits < _FEW_DATAGRAMS:
        shown += f", {lost:.0f} lost in all programs since this network began" if lost else ""
        why = "a burst beyond that is lost without a word; a new size holds for sockets that are made after it"
        yield note(shown, why, set_sysctl("net.core.rmem_default", max(1024**2, 4 * room)))
    else:
        yield fine(f"{shown}, none lost")


def outgoing_ports(facts: Facts) -> Findings:
    """Whether a port of ours may be given to an outgoing connection of anybody while we do not hold it."""
    first, last = facts.several("net.ipv4.ip_local_port_range")
    binds = [place.address for place in facts.places if place.address.scheme in ("tcp", "udp")]
    ours = sorted({bind.port for bind in binds if first <= bind.port <= last} - set(facts.several("reserved ports")))
    if ours:
        ports = ",".join(map(str, ours))
        why = "while it is stopped any connection to elsewhere may get that port, and a start ends with exit 4"
        remedy = set_sysctl("net.ipv4.ip_local_reserved_ports", ports)
        yield note(f"{ports} in {first:.0f} to {last:.0f}", why, remedy)
    elif binds:
        yield fine(f"none of ours in {first:.0f} to {last:.0f}")


def tracked_connections(facts: Facts) -> Findings:
    """The table of the firewall's connection tracking."""
    try:
        count, most = facts.number("net.netfilter.nf_conntrack_count"), facts.number("net.netfilter.nf_conntrack_max")
    except UnknownError:
        yield fine("nobody tracks connections here")
        return
    if most and count > _NEARLY * most:
        why = "once it is full, packets of new connections are dropped; clients see time-outs"
        yield bites(f"{count:.0f} of {most:.0f}", why, set_sysctl("net.netfilter.nf_conntrack_max", 2 * most))
    else:
        yield fine(f"{count:.0f} of {most:.0f}")
