"""Connections that are not plain streams: by datagrams, and by TLS.

They must not know what is sent. Invariant: a datagram is only taken for the reply of the request that waits for it; a
late one finds its socket closed.
Read next: ``connection.py``, the states they go through.
"""

import socket
import ssl
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT

from prefork.errors import UsageError
from prefork.lab.aim import Aim
from prefork.lab.connection import OPENING, RECEIVING, ROOM, SENDING, Connection, Owner
from prefork.lab.load import Load
from prefork.lab.talk import Talk, talk_of


class Datagrams(Connection):
    """One request at a time has the socket for itself, for a reply does not say whose it is."""

    _late_kind = "lost"

    def overdue(self) -> None:
        self._fail(self._late_kind, "no datagram came back within the timeout")

    def _ready_to_send(self) -> None:
        assert self._socket is not None
        if self._aim.family == socket.AF_UNIX and not self._socket.getsockname():
            self._socket.bind("")  # a name that the kernel makes up, unix(7) autobind: without one nobody can answer
        self._is_open = True  # nobody else has a part in it
        self._owner.opened()
        self._begin_sending()

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            size = self._socket.recv_into(ROOM)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail_with(error)
            return
        self.received += size
        self._reader.feed(bytes(ROOM[:size]))
        self._whole()


def context_of(load: Load) -> ssl.SSLContext:
    """:raises UsageError: the certificates to believe cannot be read."""
    try:
        context = ssl.create_default_context(cafile=load.authorities or None)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"--ca: {load.authorities}: {error.strerror or error}; give a file of certificates in PEM"
        ) from None
    if load.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Tls(Connection):
    """A TCP stream inside TLS, which may have to read before it can send."""

    def __init__(self, aim: Aim, talk: Talk, owner: Owner, context: ssl.SSLContext, server_name: str) -> None:
        super().__init__(aim, talk, owner)
        self._context = context
        self._server_name = server_name

    def on_event(self, mask: int) -> None:
        if self._state in (OPENING, SENDING):
            self._send()
        elif self._state == RECEIVING or not self._is_quiet():
            super().on_event(mask)

    def close(self) -> None:
        """Say so to the other side, as far as it can be said at once."""
        if self._is_open and isinstance(self._socket, ssl.SSLSocket):
            try:
                self._socket.unwrap()
            except (OSError, ValueError):
                pass
        super().close()

    def _ready_to_send(self) -> None:
        self._watch(EPOLLOUT)

    def _send(self) -> None:
        if self._is_open:
            super()._send()
            return
        try:
            self._shake()
        except ssl.SSLWantReadError:
            self._watch(EPOLLIN)
        except ssl.SSLWantWriteError:
            self._watch(EPOLLOUT)
        except OSError as error:
            self._fail_with(error)
        else:
            self._is_open = True
            self._owner.opened()
            self._begin_sending()

    def _shake(self) -> None:
        plain = self._socket
        assert plain is not None
        if not isinstance(plain, ssl.SSLSocket):
            if code := self._pending_error():
                raise OSError(code, "")
            self._socket = self._context.wrap_socket(
                plain, do_handshake_on_connect=False, server_hostname=self._server_name
            )
        assert isinstance(self._socket, ssl.SSLSocket)
        self._socket.do_handshake()

    def _receive(self) -> None:
        """Until the socket waits for the kernel: what OpenSSL holds already, no event tells."""
        turn = self._turn
        super()._receive()
        while self._turn == turn and self._state == RECEIVING and self._has_more():
            super()._receive()

    def _has_more(self) -> bool:
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def _is_quiet(self) -> bool:
        """Whether what came to an idle connection is OpenSSL's own affair: a ticket for a later session."""
        assert self._socket is not None
        try:
            self._socket.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            pass
        return False


def maker_of(load: Load, aim: Aim, owner: Owner) -> Callable[[], Connection]:
    """What makes connections of the kind that the aim wants.

    :raises UsageError: the load's script or certificates cannot be had.
    """
    talk = talk_of(load, aim)
    if aim.is_datagram:
        return lambda: Datagrams(aim, talk, owner)
    if aim.is_tls:
        context = context_of(load)
        return lambda: Tls(aim, talk, owner, context, load.server_name or aim.host)
    return lambda: Connection(aim, talk, owner)
