"""One connection of a generator: it opens, sends a request, reads the reply, and tells how that ended.

A small state machine, moved by the kernel's events; the generator owns time, the epoll set and what is counted. It must
not know rates, clients or samples. Nothing is sent again that failed once: what a server did not answer is an error.
Invariant: each request that was begun is told to the owner as answered or failed, once, unless the owner drops it.
Read next: ``generator.py``, the owner; ``talk.py``, what is said; ``wires.py``, connections by TLS and by datagrams.
"""

import errno
import os
import socket
import ssl
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT
from typing import Protocol

from prefork.lab.aim import Aim
from prefork.lab.talk import Dialogue, Talk

IDLE, OPENING, SENDING, RECEIVING = range(4)
CHUNK = 1 << 18  # bytes read at a time
ROOM = memoryview(bytearray(CHUNK))
"""Where they are read to: to have a large piece of memory made for each reply would cost more than the reply."""
RETRY = 0.002  # seconds until a Unix listener with a full queue is asked again; no event tells, connect(2) EAGAIN
PIECE = 0.1  # seconds from one piece of a slow request to the next
KIND_OF = {
    errno.ECONNREFUSED: "refused",
    errno.ENOENT: "refused",  # nobody has made that Unix socket
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EMFILE: "descriptors",
    errno.ENFILE: "descriptors",
    errno.EADDRNOTAVAIL: "ports",
    errno.EMSGSIZE: "size",
}
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Owner(Protocol):
    """What a connection needs of its generator."""

    def watch(self, connection: "Connection", fd: int, mask: int) -> None:
        """Tell the connection of such events; of none with 0, before ``fd`` is closed."""
        ...

    def opened(self) -> None: ...
    def answered(self, connection: "Connection") -> None: ...
    def failed(self, connection: "Connection", kind: str, text: str) -> None: ...
    def dropped(self) -> None:
        """The server closed a connection that carried no request."""
        ...

    def later(self, seconds: float, call: Callable[[], None]) -> None: ...


class Connection:
    """By TCP or a Unix stream. It is used again and again, for socket after socket.

    ``intended`` and ``started`` are of the request under way, ``sent`` and ``received`` bytes of its whole life.
    """

    def __init__(self, aim: Aim, talk: Talk, owner: Owner) -> None:
        self._aim = aim
        self._talk = talk
        self._owner = owner
        self._reader = talk.make_reader()
        self._is_chatty = aim.is_tcp and not talk.is_single  # then no piece may wait for the one before, tcp(7)
        self._socket: socket.socket | None = None
        self._fd = -1
        self._mask = 0
        self._state = IDLE
        self._carried = 0  # requests, by this socket
        self._is_open = False
        self._rest: bytes | memoryview = b""
        self._dialogue: Dialogue | None = None
        self._turn = 0  # of requests, so that what was put off for one does not meet the next
        self.intended = self.started = 0.0
        self.sent = self.received = 0

    def begin(self, number: int, intended: float, now: float) -> None:
        """Start a request. The connection is idle.

        :param number: of the request, for a script.
        """
        self.intended = intended
        self.started = now
        self._turn += 1
        talk = self._talk
        if talk.script is None:
            self._rest = talk.request
        else:
            self._dialogue = Dialogue(talk.script, number)
            if not self._step(None):
                return
        if self._socket is None:
            self._open()
        else:
            self._begin_sending()

    def on_event(self, mask: int) -> None:
        """Something has come, can be sent, or went wrong."""
        state = self._state
        if state == RECEIVING:
            self._receive()
        elif state == IDLE:  # nothing was asked
            self.close()
            self._owner.dropped()
        else:
            if mask & ~EPOLLOUT and state == SENDING:
                self._receive()
            if mask & EPOLLOUT and self._state in (OPENING, SENDING):
                self._send()
            elif self._state == OPENING and (code := self._pending_error()):
                self._fail_with(OSError(code, ""))

    def overdue(self) -> None:
        """The owner's patience has ended."""
        doing = "reply" if self._state == RECEIVING else "connection" if not self._is_open else "way to send all of it"
        self._fail(self._late_kind, f"no {doing} within the timeout")

    _late_kind = "timeout"

    def close(self) -> None:
        """Of a request under way nothing is told any more."""
        self._state = IDLE
        self._turn += 1
        if self._dialogue is not None:
            self._dialogue.close()
            self._dialogue = None
        if self._socket is not None:
            if self._mask:
                self._owner.watch(self, self._fd, 0)
                self._mask = 0
            self._socket.close()
            self._socket = None
        self._reader.clear()
        self._is_open = False

    def _open(self) -> None:
        self._state = OPENING
        self._carried = 0
        aim = self._aim
        try:
            self._socket = made = socket.socket(aim.family, aim.kind | socket.SOCK_NONBLOCK)
            self._fd = made.fileno()
            if self._is_chatty:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = made.connect_ex(aim.address)
        except OSError as error:
            self._fail_with(error)
            return
        if code in (0, errno.EINPROGRESS):
            self._ready_to_send()
        elif code == errno.EAGAIN:
            made.close()
            self._socket = None
            self._put_off(RETRY, self._open)
        else:
            self._fail_with(OSError(code, ""))

    def _ready_to_send(self) -> None:
        """A connect to this machine is done at once, although the kernel says that it is in progress."""
        if self._rest:
            self._begin_sending()
        else:  # only an event tells whether anybody is there
            self._watch(EPOLLOUT)

    def _begin_sending(self) -> None:
        if self._talk.pace is None:
            self._send()
        else:
            self._state = SENDING if self._is_open else OPENING
            self._send_piece()

    def _send(self) -> None:
        sock = self._socket
        assert sock is not None
        rest = self._rest
        try:
            if rest:
                count = sock.send(rest)
            else:
                count = 0
                if not self._is_open and (code := self._pending_error()):
                    raise OSError(code, "")
        except WOULD_BLOCK:
            self._watch(EPOLLOUT | EPOLLIN if self._is_open else EPOLLOUT)
            return
        except OSError as error:
            self._fail_with(error)
            return
        if not self._is_open:
            self._is_open = True
            self._owner.opened()
        self.sent += count
        if count == len(rest):
            self._sent_all()
        else:
            self._state = SENDING
            self._rest = memoryview(rest)[count:]
            self._watch(EPOLLOUT | EPOLLIN)

    def _send_piece(self) -> None:
        """As much as the pace allows, and the next one later. What a full socket does not take waits its turn too."""
        sock, pace = self._socket, self._talk.pace
        assert sock is not None
        assert pace is not None
        size = min(max(1, int(pace * PIECE)), len(self._rest))
        try:
            count = sock.send(self._rest[:size])
        except WOULD_BLOCK:
            count = 0
        except OSError as error:
            self._fail_with(error)
            return
        if count and not self._is_open:
            self._is_open = True
            self._owner.opened()
        self._state = SENDING
        self.sent += count
        self._rest = self._rest[count:]
        if self._rest or not self._is_open:
            if self._is_open:
                self._watch(EPOLLIN)
            self._put_off(size / pace, self._send_piece)
        else:
            self._sent_all()

    def _sent_all(self) -> None:
        self._state = RECEIVING
        if self._talk.has_reply:
            if self._mask != EPOLLIN:
                self._watch(EPOLLIN)
            if self._dialogue is not None and self._reader.turn():
                self._whole()
        else:
            self._whole()

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            size = self._socket.recv_into(ROOM)
        except WOULD_BLOCK:
            return
        except OSError as error:
            self._fail_with(error)
            return
        self._take(bytes(ROOM[:size]))

    def _take(self, data: bytes) -> None:
        self.received += len(data)
        try:
            is_whole = self._reader.feed(data) if data else self._reader.end()
        except ValueError as error:
            self._fail("wrong", str(error))
            return
        if not data:
            self._carried = -1  # this socket carries nothing more
        if is_whole:
            self._whole()
        elif not data:
            self._fail("closed", "the server closed before its reply was whole")

    def _whole(self) -> None:
        """A reply is whole, or none is waited for."""
        reader, talk = self._reader, self._talk
        if talk.has_reply:
            fault = talk.fault(reader)
            if fault is not None:
                self._fail(*fault)
                return
        if self._dialogue is not None and self._step(reader.reply):
            if self._carried < 0:
                self._fail("closed", "the server closed before the script had ended")
            else:
                self._begin_sending()
        elif self._state != IDLE:
            self._finish()

    def _finish(self) -> None:
        """Answered rightly: the connection is kept or closed, and the owner told."""
        sent_early = self._state == SENDING
        self._state = IDLE
        self._carried += 1
        reader, limit = self._reader, self._talk.per_connection
        surplus = reader.has_surplus
        is_used_up = not self._carried or (limit is not None and self._carried >= limit)
        if is_used_up or sent_early or not reader.may_keep:
            self.close()
        elif surplus:
            self.close()
            self._owner.failed(self, "wrong", "the server sent more than the reply; say by --reply where it ends")
            return
        else:
            reader.turn()
        self._owner.answered(self)

    def _step(self, reply: bytes | None) -> bool:
        """Let the script go on; whether there is something to send. If not, the request or the script is over."""
        assert self._dialogue is not None
        try:
            said = self._dialogue.go_on(reply)
        except ValueError as error:
            self._fail("wrong", str(error))
            return False
        if said is None:
            self._dialogue = None
            if reply is None:  # it had nothing to say at all
                self._owner.answered(self)
            return False
        self._rest = said
        return True

    def _fail_with(self, error: OSError) -> None:
        doing = "connect" if not self._is_open else "receive" if self._state == RECEIVING else "send"
        if isinstance(error, ssl.SSLError):
            self._fail("tls", f"could not {doing}: {str(error).lower()}")
            return
        code = error.errno or 0
        kind = KIND_OF.get(code) or errno.errorcode.get(code, "error")
        self._fail(kind, f"could not {doing}: {os.strerror(code).lower()}")

    def _fail(self, kind: str, text: str) -> None:
        self.close()
        self._owner.failed(self, kind, text)

    def _put_off(self, seconds: float, call: Callable[[], None]) -> None:
        turn = self._turn
        self._owner.later(seconds, lambda: call() if turn == self._turn else None)

    def _watch(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            self._owner.watch(self, self._fd, mask)

    def _pending_error(self) -> int:
        assert self._socket is not None
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
