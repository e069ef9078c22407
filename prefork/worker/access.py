"""Access: a line in the log for each request, when it has ended.

It stands between whoever handles requests and the ledger, and only where it is wanted: it takes the place of two of
their methods when the worker boots, so that others pay nothing. Bytes are the kernel's, read before the connection is
closed. It must not know how a request is handled, nor where lines go.
Invariant: a request that ended in the ledger has one line, whoever handled it; of one that was handled in a child the
child writes it, or if it could not, the worker.
Read next: ``ledger.py``; ``docs/logs.md``, the fields.
"""

import errno
import logging
import socket
import struct
import threading
import time
from typing import Any

from prefork.errors import RequestTimeout
from prefork.system import processes
from prefork.system.logfile import Log
from prefork.system.slots import Lane, Request
from prefork.worker.ledger import Ledger

# of the kernel's states, net/tcp_states.h
_FIN_WAIT1, _TIME_WAIT, _CLOSE, _CLOSE_WAIT, _LAST_ACK, _CLOSING = 4, 6, 7, 8, 9, 11
_HAS_ENDED = (_TIME_WAIT, _CLOSE_WAIT, _LAST_ACK, _CLOSING)  # the end of the client's stream has come
_IS_ENDING = (_FIN_WAIT1, _LAST_ACK, _CLOSING)  # the end of ours may not have left yet, and then is a byte as well
_STATE, _ACKED, _NOT_SENT, _SENT = 0, 120, 144, 200  # where they stand in struct tcp_info, linux/tcp.h
_INFO_SIZE = 216


class Access:
    """:param log: gets the records."""

    def __init__(self, log: Log, ledger: Ledger) -> None:
        self._log = log
        self._end = ledger.end
        self._bytes: dict[int, tuple[int | None, int | None]] = {}  # in and out, by the thread that closes
        ledger.end = self._end_and_tell  # type: ignore[method-assign]
        ledger.tell = self.tell  # type: ignore[method-assign]

    def heed(self, server: Any) -> None:
        """Look at the connections of this server before they are closed."""
        close = server.shutdown_request

        def shutdown_request(request: Any) -> None:
            self._bytes[threading.get_ident()] = _count(request)
            close(request)

        server.shutdown_request = shutdown_request

    def _end_and_tell(self, lane: Lane, raised: object) -> None:
        request = lane.read()
        self._end(lane, raised)
        self._tell(request, raised)

    def tell(self, lane: Lane, raised: object) -> None:
        """A request ends in a child, or has ended with it.

        :param raised: what its handler raised; or how the child ended.
        """
        self._tell(lane.read(), raised)

    def _tell(self, request: Request | None, raised: object) -> None:
        came, went = self._bytes.pop(threading.get_ident(), (None, None))
        if request is None:
            return
        told: dict[str, Any] = {"peer": request.peer, "request": request.number}
        told["seconds"] = round(time.monotonic() - request.since, 6)
        told |= _outcome(raised)
        told |= {"label": request.label or None, "bytes_in": came, "bytes_out": went}
        record = logging.makeLogRecord({"name": "prefork.access", "levelno": logging.INFO, "levelname": "INFO"})
        record.msg = _text(told)
        record.__dict__.update(told)
        self._log.handle(record)


def _outcome(raised: object) -> dict[str, str]:
    if raised is None:
        return {"outcome": "ok"}
    if isinstance(raised, RequestTimeout):
        return {"outcome": "timeout"}
    if isinstance(raised, processes.Ending):
        return {"outcome": "lost", "error": str(raised)}
    return {"outcome": "error", "error": type(raised).__name__}


def _text(told: dict[str, Any]) -> str:
    """``10.0.0.7:51022 #1841 ok 0.003 s, 12 bytes in, 340 out``."""
    text = f"{told['peer']} #{told['request']} {told['outcome']} {told['seconds']:.3f} s"
    if "error" in told:
        text += f", {told['error']}"
    if told["bytes_in"] is not None:
        text += f", {told['bytes_in']} bytes in"
    if told["bytes_out"] is not None:
        text += f", {told['bytes_out']} out"
    return f"{text}, {told['label']}" if told["label"] else text


def _count(request: Any) -> tuple[int | None, int | None]:
    """Bytes that came in, and that went out or are about to; ``None`` where nobody knows."""
    if isinstance(request, tuple):  # a datagram, with the socket that answers it
        return len(request[0]), None
    if not isinstance(request, socket.socket) or request.family not in (socket.AF_INET, socket.AF_INET6):
        return None, None
    try:
        info = request.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
    except OSError:  # the handler has closed it
        return None, None
    if len(info) < _INFO_SIZE:
        return None, None
    acked, received = struct.unpack_from("QQ", info, _ACKED)
    (not_sent,) = struct.unpack_from("I", info, _NOT_SENT)
    sent, again = struct.unpack_from("QQ", info, _SENT)
    is_answered = acked > sent - again  # the client has the end of our stream, which is acknowledged as a byte
    has_ended = info[_STATE] in _HAS_ENDED or (info[_STATE] == _CLOSE and _has_closed(request, is_answered))
    if not_sent and info[_STATE] in _IS_ENDING:
        not_sent -= 1
    return received - has_ended, sent - again + not_sent


def _has_closed(request: socket.socket, is_answered: bool) -> bool:
    """Whether the end of the client's stream, which the kernel counts as a byte, came before the connection was closed.

    A reset closes it as well: it is EPIPE where that end had come, and else ECONNRESET. Where the handler has met the
    error already, it is taken for the latter: without a reset, closed is what both ends have ended.

    :param is_answered: whether our end has.
    """
    error = request.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return error == errno.EPIPE or (error == 0 and is_answered)
