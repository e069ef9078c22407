"""The master's end of the control socket: bytes become requests, replies become bytes, and nobody waits for anybody.

It must not know what a request asks for. A client can cost a bounded amount of memory and of the master's time, and
never its life: who says too much, or does not read what it asked for, is dropped; where too many are connected, who has
been silent the longest makes room.
Invariant: nothing here blocks, nothing a client does raises, and no client is served whose user is not ours or root.
Read next: ``messages.py``; ``prefork/master/operators.py``, who hears the requests.
"""

import contextlib
import errno
import itertools
import os
import socket
import time
from collections.abc import Hashable, Iterable, Iterator

from prefork.control.messages import REQUEST_MAX, Heard, ProtocolError, Refused, Reply, Request, encode, read_request
from prefork.system import sockets
from prefork.system.sockets import Listener, Peer
from prefork.system.wakeup import Poller

MOST_CLIENTS = 32
ACCEPTS = 16  # at a time
OUTPUT_MAX = 65536  # bytes that wait for a client, beside what the kernel holds for it
TURN = 0.002  # seconds that all answers in parts may take between two looks at everything else
BACKLOG = 64


class Client:
    """One connection, and how far the answer to its request is."""

    def __init__(self, connection: socket.socket, peer: Peer, turn: int) -> None:
        self.connection = connection
        self.peer = peer
        self.heard_at = turn  # when it last said something, in a count that all clients share
        self.input = b""
        self.output = b""
        self.rest: Iterator[Reply] | None = None  # of an answer in parts
        self.is_answered = True
        self.is_waiting = False  # for an outcome that will come
        self.may_only_look = False
        self.is_following = False  # waits for whatever happens
        self.has_said_all = False  # its end of the stream is shut, or is no longer read; it may still listen
        self.is_ending = False  # once its output is gone
        self.is_gone = False
        self.heeded = (True, False)  # news, room

    @property
    def is_quiet(self) -> bool:
        """Whether nothing it asked is left to do."""
        return self.is_answered and not self.output and b"\n" not in self.input


class Server:
    """:param listener: non-blocking; ``None`` where clients are only adopted.
    :param poller: where the listener and all clients are.
    """

    def __init__(self, listener: Listener | None, poller: Poller) -> None:
        self._listener = listener
        self._poller = poller
        self._clients: list[Client] = []
        self._turns = itertools.count()
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._is_deaf = False  # nobody could be accepted; the listener is out of the poller until the next turn
        if listener is not None:
            poller.add(listener.socket.fileno(), self)

    @property
    def listener(self) -> Listener | None:
        return self._listener

    @property
    def lasting(self) -> list[Client]:
        """The clients to whom no answer is half told, so that another server can go on with them.

        Who may only look is none of them: the other server could take it for somebody who may do more.
        """
        lasting = (c for c in self._clients if not (c.output or c.rest is not None or c.is_ending))
        return [client for client in lasting if not client.may_only_look]

    def adopt(self, connection: socket.socket, heard: bytes, *, waits: bool, follows: bool = False) -> Client | None:
        """Go on with a client of another server.

        :param heard: what it has said and nobody has looked at.
        :param waits: for an answer, which will come by ``answer``.
        :param follows: what happens, which comes by ``tell`` until the end.
        :returns: ``None`` where the kernel allows no more watches; it is dropped then.
        """
        client = self._connect(connection)
        if client is not None:
            client.input = heard
            client.is_waiting = waits or follows
            client.is_following = follows
            client.is_answered = not client.is_waiting
        return client

    def admit_onlooker(self, connection: socket.socket) -> Client | None:
        """One end of a pair, whose other end is a process of ours: it may look, and never has to make room.

        :returns: as ``adopt``.
        """
        client = self._connect(connection)
        if client is not None:
            client.may_only_look = True
        return client

    def close(self) -> None:
        """End all connections; the path goes if it is still ours. Closing twice is closing once."""
        for client in self._clients[:]:
            self._drop(client)
        if self._listener is not None and self._listener.socket.fileno() >= 0:
            self._poller.remove(self._listener.socket.fileno())
            self._listener.socket.close()
            sockets.remove_path(self._listener)
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    # what comes in

    def hear(self, keys: Iterable[Hashable]) -> Iterator[tuple[Client, Request]]:
        """The requests that have come, each to be answered by ``answer``, ``answer_in_parts``, or later after ``wait``.

        A client's next request is not looked at before.

        :param keys: what is ready, of everything in the poller.
        """
        self._listen_again()
        for key in keys:
            if key is self:
                self._accept_all()
            elif isinstance(key, Client):
                self._serve(key)
        self._go_on()
        for client in self._clients[:]:
            yield from self._requests(client)

    @property
    def has_more(self) -> bool:
        """Whether something could be done at once, without news."""
        return any(not c.output and (c.rest is not None or (c.is_answered and b"\n" in c.input)) for c in self._clients)

    def _serve(self, client: Client) -> None:
        """The poller says that it is readable, has room, or is gone."""
        if client.is_gone:
            return
        if client.has_said_all and not client.output:  # nothing is heeded any more, so this is the other end's end
            self._drop(client)
            return
        self._flush(client)
        if not client.is_gone and not client.has_said_all:
            self._read(client)

    def _read(self, client: Client) -> None:
        try:
            chunk = client.connection.recv(REQUEST_MAX)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._drop(client)
            return
        if not chunk:
            client.has_said_all = True
            self._heed(client)
            self._end_if_quiet(client)
        else:
            client.input += chunk
            if len(client.input) > REQUEST_MAX:
                why = (
                    f"a request, and what follows before its answer, has at most {REQUEST_MAX} bytes; send less at once"
                )
                self._refuse(client, why)

    def _requests(self, client: Client) -> Iterator[tuple[Client, Request]]:
        while (
            client.is_answered and not (client.is_ending or client.is_gone or client.output) and b"\n" in client.input
        ):
            line, _, client.input = client.input.partition(b"\n")
            client.heard_at = next(self._turns)
            try:
                request = read_request(line)
            except ProtocolError as error:
                self._refuse(client, str(error))
                return
            client.is_answered = False
            yield client, request

    def _accept_all(self) -> None:
        assert self._listener is not None, "it was in the poller"
        for _ in range(ACCEPTS):
            try:
                connection, _ = self._listener.socket.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                self._refuse_without_descriptor(error)
                return
            self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        client = self._connect(connection)
        if client is None:
            return
        uid, ours = client.peer.uid, os.geteuid()
        if uid not in (ours, 0):
            self._refuse(client, f"user {uid} may not steer an instance of user {ours}; be that user, or root")
        elif len(self._clients) > MOST_CLIENTS:
            self._make_room(client)

    def _connect(self, connection: socket.socket) -> Client | None:
        connection.setblocking(False)
        client = Client(connection, sockets.peer_of(connection), next(self._turns))
        self._clients.append(client)
        try:
            self._poller.add(connection.fileno(), client)
        except OSError:  # the kernel allows no more watches
            self._drop(client)
            return None
        return client

    def _make_room(self, newcomer: Client) -> None:
        """Drop who has said nothing for the longest time and waits for no outcome; followers only if all others do."""
        others = [c for c in self._clients if not (c.may_only_look or c is newcomer)]
        idle = [client for client in others if not client.is_waiting]
        following = [client for client in others if client.is_following]
        if idle or following:
            self._drop(min(idle or following, key=lambda client: client.heard_at))
        else:
            self._refuse(newcomer, f"{MOST_CLIENTS} commands are under way already; wait until one is done")

    def _refuse_without_descriptor(self, error: OSError) -> None:
        """Nobody can be accepted, and the listener would wake us for ever: refuse one by the descriptor kept for it."""
        assert self._listener is not None, "it was in the poller"
        if self._spare is not None and error.errno in (errno.EMFILE, errno.ENFILE):
            os.close(self._spare)
            self._spare = None
            with contextlib.suppress(OSError):
                connection, _ = self._listener.socket.accept()
                with connection:
                    connection.setblocking(False)
                    connection.send(encode(Refused(why="the master has no descriptor left; raise its limit, or wait")))
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            if self._spare is not None:
                return
        self._poller.remove(self._listener.socket.fileno())
        self._is_deaf = True

    def _listen_again(self) -> None:
        """Something else woke us: perhaps there are descriptors again."""
        if self._is_deaf and self._listener is not None:
            with contextlib.suppress(OSError):
                self._poller.add(self._listener.socket.fileno(), self)
                self._is_deaf = False

    # what goes out

    def tell(self, client: Client, reply: Reply) -> None:
        """Something that comes before the answer. Who does not read it is dropped."""
        if client.is_gone or client.is_ending:
            return
        client.output += encode(reply)
        self._flush(client)
        if len(client.output) > OUTPUT_MAX:
            self._drop(client)

    def answer(self, client: Client, reply: Reply) -> None:
        """The end of the answer to its request."""
        client.is_answered, client.is_waiting = True, False
        self.tell(client, reply)
        self._end_if_quiet(client)

    def answer_in_parts(self, client: Client, replies: Iterator[Reply]) -> None:
        """The whole answer, each part made when the one before has left for the client."""
        client.rest = replies

    def wait(self, client: Client) -> None:
        """Its answer will come, by ``answer``."""
        client.is_waiting = True
        self.tell(client, Heard())

    def follow(self, client: Client, replies: Iterator[Reply]) -> None:
        """Its answer never ends: ``replies``, then whatever ``tell`` brings, until the end of the connection."""
        client.is_following = True
        self.wait(client)
        client.rest = replies

    def _refuse(self, client: Client, why: str) -> None:
        client.input = b""
        self.answer(client, Refused(why=why))
        client.is_ending = client.has_said_all = True
        if not client.is_gone:
            self._heed(client)
            self._end_if_quiet(client)

    def _go_on(self) -> None:
        """Let answers in parts go on, as far as their clients read them and the turn allows."""
        until = time.monotonic() + TURN
        for client in self._clients[:]:
            while client.rest is not None and not client.output and not client.is_gone:
                reply = next(client.rest, None)
                if reply is None:
                    client.rest, client.is_answered = None, not client.is_following
                    self._end_if_quiet(client)
                else:
                    self.tell(client, reply)
                if time.monotonic() >= until:
                    return

    def _flush(self, client: Client) -> None:
        """Write what the kernel takes; the poller says when it takes more."""
        had_output = bool(client.output)
        try:
            while client.output:
                client.output = client.output[client.connection.send(client.output) :]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._drop(client)
            return
        if client.output or had_output:
            self._heed(client)
            self._end_if_quiet(client)

    def _heed(self, client: Client) -> None:
        news, room = heeded = not client.has_said_all, bool(client.output)
        if heeded != client.heeded:
            client.heeded = heeded
            self._poller.heed(client.connection.fileno(), news=news, room=room)

    def _end_if_quiet(self, client: Client) -> None:
        if (client.has_said_all or client.is_ending) and client.is_quiet:
            self._drop(client)

    def _drop(self, client: Client) -> None:
        if not client.is_gone:
            client.is_gone = True
            client.input = client.output = b""
            client.rest = None
            self._clients.remove(client)
            self._poller.remove(client.connection.fileno())
            client.connection.close()
