"""How a listening socket is made to admit nothing new while what the kernel has queued can still be served.

The last ``close`` of a listener resets what waits in its queue, and a listener that is merely read until empty fills
up again meanwhile. So the last stop first shuts the door, each kind of socket in its own way:

    kind                       how it is shut                a new client meets     the empty queue says (non-blocking)
    TCP, v4 and v6             bound to no interface         ECONNREFUSED           EAGAIN
    UDP, v4 and v6             a filter that keeps nothing   silence                EAGAIN
    Unix stream, seqpacket     shutdown(SHUT_RD)             ECONNREFUSED           EAGAIN, yet it polls as readable
    Unix datagram              shutdown(SHUT_RD)             EPIPE when it sends    EAGAIN, yet it polls as readable

A shut Unix socket stays readable for ever: whoever polls it unregisters it at the first EAGAIN. A blocking one says
that it is empty with EINVAL from ``accept`` and with ``(b"", None)`` from ``recvfrom``, where TCP and UDP just block;
one with a Python timeout spins until the timeout is over.

It must not know workers, masters, deadlines, why we stop, or who else holds the socket.
Invariant: after ``refuse_new`` has said True, what was queued before is still accepted and answered both ways, and no
client that comes later is ever accepted.
Read next: ``tests/system/test_draining.py``, where each line of the table is a test.
"""

import array
import errno
import socket
import struct
import sys
from collections.abc import Iterable

__all__ = ["count_handshakes", "refuse_new"]

# Python 3.11 names neither. The numbers are those of the kernel's asm-generic/socket.h; an architecture with its own
# (parisc, sparc) answers with an error, which here means False.
_SO_ATTACH_FILTER = 26
_SO_BINDTOIFINDEX = 62

# The highest index an interface can have. They are numbered from 1, and the kernel does not ask whether one exists.
_NO_INTERFACE = 0x7FFFFFFF

# One classic BPF instruction, BPF_RET|BPF_K with k = 0: of each packet keep nothing, which drops it.
_KEEP_NOTHING = struct.pack("=HBBI", 0x06, 0, 0, 0)

# The caller's own mistakes. Any other errno belongs to the platform (ENOPROTOOPT: an old or emulated kernel; EPERM: a
# sandbox, a locked filter, or a socket that is bound to a device already; EINVAL, ENOSYS, ENOMEM), and the answer to
# all of those is one: accept until empty.
_MISTAKES = frozenset({errno.EBADF, errno.ENOTSOCK})

# Not /proc/net: the same tables, but these are there under systemd's ProcSubset=pid as well.
_TCP_TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")


def refuse_new(listener: socket.socket) -> bool:
    """Admit nothing new on ``listener`` from now on. What is queued and handshakes under way are left alone.

    This changes the *socket*, not the descriptor: all processes that hold it are shut as well, and without CAP_NET_RAW
    TCP never opens again. Never call it on a listener that somebody else holds (a service manager, a successor), nor
    for a pause.

    Where several sockets share a port by SO_REUSEPORT, call it on all of them before anything else: the kernel still
    gives new clients their share of a shut member, where TCP clients hear nothing, until all are shut and their next
    try, a second later, is refused.

    A packet that another CPU is handling meanwhile may still get in: look at the queue afterwards. Whoever sleeps in a
    blocking wait on a Unix socket is woken, all of them at once; on TCP and UDP nobody is.

    Where it stands in the kernel: ``sock_bindtoindex_locked`` and ``compute_score`` (no packet comes by that interface,
    so the look-up of a SYN finds no listener, while the ACK of a known handshake finds the handshake; since Linux 5.1),
    ``udp_queue_rcv_one_skb`` (the filter stands before the queue; what it drops counts in the ``drops`` of
    /proc/net/udp), ``unix_stream_connect`` and ``unix_dgram_sendmsg`` (both look for RCV_SHUTDOWN).

    :param listener: bound, and listening where its kind can: TCP or UDP over IPv4 or IPv6, or a Unix socket.
    :returns: True when the kernel admits nothing new from now on; asking again changes nothing and is True again.
        False, with nothing changed, where platform, permission or kind of socket do not have the call: then accept
        until empty, and what arrives between that and the close is reset.
    :raises OSError: for what is no open socket (EBADF, ENOTSOCK), and for nothing else.
    """
    if sys.platform != "linux":  # other systems give shutdown() of a listener other meanings, and none was tried
        return False
    try:
        if listener.family == socket.AF_UNIX:
            listener.shutdown(socket.SHUT_RD)
        elif _is_tcp(listener):
            _bind_to_no_interface(listener)
        elif _is_internet(listener) and listener.type == socket.SOCK_DGRAM:
            _drop_every_datagram(listener)
        else:
            return False
    except OSError as error:
        if error.errno in _MISTAKES:
            raise
        return False
    return True


def count_handshakes(listeners: Iterable[socket.socket]) -> int:
    """How many TCP handshakes (SYN answered, its ACK not yet here) are under way on the local ports of ``listeners``.

    The port alone is compared, since the handshakes of a wildcard listener carry whichever address the client asked
    for; so a stranger on the same port of another address is counted too. That, a client that never sends its ACK, or
    one that never speaks to a TCP_DEFER_ACCEPT listener, is why a wait for zero needs a limit.

    :param listeners: open sockets of any kind; those that are not TCP contribute nothing.
    :returns: how many; 0 also where the tables, those of this process's network namespace, cannot be read. After a 0
        look at the queue once more: a handshake that has just ended is a connection to accept.
    """
    ports = {b"%04X" % listener.getsockname()[1] for listener in listeners if _is_tcp(listener)}
    if not ports:
        return 0
    return sum(_count_handshakes_in(table, ports) for table in _TCP_TABLES)


def _count_handshakes_in(table: str, ports: set[bytes]) -> int:
    # A table holds every TCP socket of the namespace, TIME_WAIT included. What one table costs (Linux 6.18, CPython
    # 3.11): 1 ms without any row, since the kernel walks all of its hash (262 144 buckets there), 9 ms with 10 000
    # rows, 26 with 29 000, 64 with 73 000; two thirds of that are the kernel's. Ask a few times a stop, not each turn.
    try:
        with open(table, "rb", buffering=1 << 16) as rows:
            # " 03 " is the state SYN_RECV and nothing else: no other column is two digits with a leading zero.
            return sum(b" 03 " in row and _local_port(row) in ports for row in rows)
    except OSError:  # no /proc here, or not for us
        return 0


def _local_port(row: bytes) -> bytes:
    # `  12: 0100007F:1F90 0100007F:B5CE 03 00000000:...` gives `1F90`; v6 has longer addresses, in the same places
    return row.split(None, 2)[1].rpartition(b":")[2]


def _bind_to_no_interface(listener: socket.socket) -> None:
    # Without CAP_NET_RAW a socket that is bound to a device cannot be bound anew: repeating it would fail with EPERM.
    if listener.getsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX) != _NO_INTERFACE:
        listener.setsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, _NO_INTERFACE)


def _drop_every_datagram(listener: socket.socket) -> None:
    # No interface index here: UDP replies leave by this very socket, and each would fail.
    # The option takes a struct sock_fprog { unsigned short len; struct sock_filter *filter; }, and copies the program.
    program = array.array("B", _KEEP_NOTHING)
    address, _ = program.buffer_info()
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, address))


def _is_tcp(listener: socket.socket) -> bool:
    # SCTP has stream sockets as well, untried; 0 is what Python keeps for a socket made without naming the protocol.
    return _is_internet(listener) and listener.type == socket.SOCK_STREAM and listener.proto in (0, socket.IPPROTO_TCP)


def _is_internet(listener: socket.socket) -> bool:
    return listener.family in (socket.AF_INET, socket.AF_INET6)
