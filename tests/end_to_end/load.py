"""Many clients at once that check each reply and say exactly what became of every request.

    with Load("tcp://127.0.0.1:9000", clients=32) as load:
        load.wait_answered(1000)
        ...what is done to the service...
        outcome = load.finish()

Each client connects, sends a question nobody else asks (``talks.py``), reads until the other side closes, compares, and
begins anew. A few processes, one loop each, keep all of them busy, so that they can saturate a service. They end by
order.

    outcome      a stream                                           a datagram
    answered     the right reply came back                          the same
    wrong        something else came back                           the same
    refused      no handshake was completed                         the kernel did not take it
    lost         completed, then closed or reset without an answer  never
    unanswered   neither answered nor closed within LIMIT           no answer, and none can come any more

It must not know the service under test: no line here imports the product.
Invariant: every request that was begun is counted under exactly one outcome.
"""

import contextlib
import errno
import json
import mmap
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from enum import IntEnum
from types import TracebackType
from typing import NamedTuple, Self

from tests.end_to_end.clients import LIMIT, Endpoint, endpoint
from tests.end_to_end.talks import TALKS, Talk

PATIENCE_SECONDS = 1.0  # a datagram client then asks anew from another socket; the old one goes on listening
NEWS_EVERY = 16  # answers
MOST_EXAMPLES = 20
CELL = 8  # bytes

REFUSALS = frozenset({errno.ECONNREFUSED, errno.ENOENT, errno.EAGAIN})  # EAGAIN: a Unix socket's backlog is full
HALT = b"h"
COLLECT = b"c"


class Fate(IntEnum):
    """What became of a request; the number is its place in the shared counts."""

    ANSWERED = 0
    WRONG = 1
    REFUSED = 2
    LOST = 3
    UNANSWERED = 4


class Outcome(NamedTuple):
    """How many requests met which fate."""

    answered: int
    wrong: int
    refused: int
    lost: int
    unanswered: int
    examples: tuple[str, ...] = ()  # of those that were not answered

    @property
    def admitted_in_vain(self) -> int:
        return self.wrong + self.lost + self.unanswered


class Load:
    """Clients in processes of their own; the counts are shared memory, so they can be read at any moment.

    :param url: as the service's log names it.
    :param clients: requests under way at once.
    :param processes: that share the clients.
    :param talk: what they say, by its name in ``talks.py``.
    """

    def __init__(self, url: str, clients: int = 32, processes: int = 2, talk: str = "lines") -> None:
        self._url = url
        self._talk = talk
        self._shares = [clients // processes + (n < clients % processes) for n in range(processes)]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._resources = contextlib.ExitStack()
        self._is_halted = False

    def __enter__(self) -> Self:
        memory = os.memfd_create("counts")
        self._resources.callback(os.close, memory)
        os.ftruncate(memory, len(self._shares) * len(Fate) * CELL)
        self._cells = memoryview(mmap.mmap(memory, 0)).cast("Q")
        self._news = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._resources.callback(os.close, self._news)
        for number, share in enumerate(self._shares):
            arguments = [self._url, self._talk, str(share), str(memory), str(number), str(self._news)]
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                pass_fds=(memory, self._news),
            )
            self._processes.append(process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            with process:
                process.kill()
        self._resources.close()

    def counts(self) -> Outcome:
        """What became of the requests so far."""
        totals = [sum(self._cells[fate :: len(Fate)]) for fate in Fate]
        return Outcome(totals[0], totals[1], totals[2], totals[3], totals[4])

    def wait_answered(self, more: int) -> None:
        """Wait until ``more`` answers have come than had at the moment of the call; the limit is for the next few."""
        start = known = self.counts().answered
        deadline = time.monotonic() + LIMIT
        while (answered := self.counts().answered) < start + more:
            if answered > known:
                known, deadline = answered, time.monotonic() + LIMIT
            left = deadline - time.monotonic()
            if left <= 0:
                answered -= start
                raise AssertionError(
                    f"{answered} answers of {more}, no more in {LIMIT:g} s; all in all: {self.counts()}"
                )
            select.select([self._news], [], [], left)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._news)

    def halt(self) -> None:
        """Begin no more requests; when this returns, the last one has been begun."""
        self._is_halted = True
        for process in self._processes:
            _order(process, HALT)
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"halted\n", "a load process has ended before its order"

    def finish(self, nobody_is_left: bool = False) -> Outcome:
        """Begin no more requests, see the ones under way to their end, and count.

        :param nobody_is_left: the service is gone, so what has not arrived by now never will.
        """
        if not self._is_halted:
            self.halt()
        examples: list[str] = []
        for process in self._processes:
            if nobody_is_left:
                _order(process, COLLECT)
            assert process.stdout is not None
            report = process.stdout.readline()
            assert report, "a load process has ended without a report"
            examples += json.loads(report)
        return self.counts()._replace(examples=tuple(examples))


def _order(process: subprocess.Popen[bytes], order: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has finished
        process.stdin.write(order)


# what follows runs in the load's own processes


class _Request:
    """One request from connect to close."""

    def __init__(self, target: Endpoint, talk: Talk, line: bytes) -> None:
        self.target = target
        self.talk = talk
        self.line = line
        self.began = time.monotonic()
        self.received = b""
        self.is_sent = False
        self.is_counted = False
        self.is_late = False  # a datagram whose client has asked anew meanwhile
        self.socket = target.open()
        self.socket.setblocking(False)

    def begin(self) -> tuple[Fate, str] | None:
        """Connect, and send if the handshake is over already; tells the fate if that is known."""
        error = self.socket.connect_ex(self.target.address)
        if error not in (0, errno.EINPROGRESS):
            return _fate_of(error, is_admitted=False), os.strerror(error)
        return self.proceed()

    def proceed(self) -> tuple[Fate, str] | None:
        """Send or read what can be; tells the fate as soon as it is known."""
        try:
            if not self.is_sent:
                self.socket.send(self.line)
                self.is_sent = True
            return self._read()
        except BlockingIOError:
            return None
        except OSError as error:
            number = error.errno or 0
            return _fate_of(number, is_admitted=self._is_admitted(number)), str(error)

    def _is_admitted(self, error: int) -> bool:
        """Whether the handshake was over before ``error``; a datagram that was not taken says so afterwards."""
        return error != errno.ECONNREFUSED and (self.is_sent or self.target.is_stream)

    def _read(self) -> tuple[Fate, str] | None:
        while True:
            part = self.socket.recv(65536)
            self.received += part
            is_whole = self.talk.is_whole(self.received)
            if self.target.is_stream and part and not is_whole:
                continue
            if self.talk.is_right(self.line, self.received):
                return Fate.ANSWERED, ""
            if self.received == self.line and self._met_itself():
                return Fate.REFUSED, "nobody else was there"
            if not self.received:
                return Fate.LOST, "end of file"
            return (Fate.WRONG if is_whole else Fate.LOST), "a different reply"

    def _met_itself(self) -> bool:
        """Whether the kernel chose, for a client of a port where nobody listens any more, that very port."""
        return self.target.family != socket.AF_UNIX and self.socket.getsockname()[:2] == self.target.address


def _fate_of(error: int, is_admitted: bool) -> Fate:
    if is_admitted:
        return Fate.UNANSWERED if error == errno.ETIMEDOUT else Fate.LOST
    if error in REFUSALS or error == errno.EPIPE:
        return Fate.REFUSED
    raise OSError(error, f"the load's own trouble: {os.strerror(error)}")


class _Clients:
    """The loop of one load process."""

    def __init__(self, target: Endpoint, talk: Talk, clients: int, cells: memoryview, news: int) -> None:
        self.target = target
        self.talk = talk
        self.idle = clients
        self.cells = cells
        self.news = news
        self.lines = self._lines()
        self.requests: dict[int, _Request] = {}
        self.examples: list[str] = []
        self.epoll = select.epoll()
        self.next_look = 0.0

    def _lines(self) -> Iterator[bytes]:
        tag = os.urandom(6).hex()
        number = 0
        while True:
            number += 1
            yield self.talk.question(number, tag)

    def run(self) -> None:
        stdin = sys.stdin.fileno()
        self.epoll.register(stdin, select.EPOLLIN)
        is_halted = False
        while not is_halted or self.requests:
            if not is_halted:
                for _ in range(self.idle):
                    self._begin()
            busy = self.idle and not is_halted  # somebody was turned away at once
            for fd, _ in self.epoll.poll(0.0 if busy else PATIENCE_SECONDS / 4):
                if fd in self.requests:
                    self._proceed(self.requests[fd])
                    continue
                if fd != stdin:
                    continue  # collected in this very round
                order = os.read(stdin, 1)
                if order == HALT:
                    is_halted = True
                    self._print("halted")
                elif order == COLLECT:
                    self._collect()
                else:
                    return  # the test is gone
            self._look_at_clock()
        self._print(json.dumps(self.examples))

    def _print(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(1, line.encode() + b"\n")

    def _begin(self) -> None:
        request = _Request(self.target, self.talk, next(self.lines))
        self.idle -= 1
        fate = request.begin()
        if fate is not None:
            self._count(request, *fate)
            self._close(request)
            return
        self.requests[request.socket.fileno()] = request
        self.epoll.register(request.socket, select.EPOLLIN if request.is_sent else select.EPOLLOUT)

    def _proceed(self, request: _Request) -> None:
        if request.is_counted:  # only the end of the connection is missing: the server shall close first
            with contextlib.suppress(BlockingIOError, ConnectionError):
                if request.socket.recv(65536):
                    self._example(request, Fate.WRONG, "more after the reply")
                    self.cells[Fate.WRONG] += 1
                    self.cells[Fate.ANSWERED] -= 1
            self._forget(request)
            return
        was_sent = request.is_sent
        fate = request.proceed()
        if fate is None:
            if request.is_sent and not was_sent:
                self.epoll.modify(request.socket, select.EPOLLIN)
            return
        self._count(request, *fate)
        if fate[0] is not Fate.ANSWERED or not self.target.is_stream:
            self._forget(request)

    def _count(self, request: _Request, fate: Fate, why: str) -> None:
        request.is_counted = True
        self.cells[fate] += 1
        if fate is not Fate.ANSWERED and fate is not Fate.REFUSED:
            self._example(request, fate, why)
        if self.cells[Fate.ANSWERED] % NEWS_EVERY == 0:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_write(self.news, 1)

    def _example(self, request: _Request, fate: Fate, why: str) -> None:
        if len(self.examples) < MOST_EXAMPLES:
            age = time.monotonic() - request.began
            self.examples.append(
                f"{fate.name.lower()} after {age:.3f} s: {request.line!r}, {request.received!r}, {why}"
            )

    def _forget(self, request: _Request) -> None:
        del self.requests[request.socket.fileno()]
        self.epoll.unregister(request.socket)
        self._close(request)

    def _close(self, request: _Request) -> None:
        request.socket.close()
        if not request.is_late:
            self.idle += 1

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        if now < self.next_look:
            return
        self.next_look = now + PATIENCE_SECONDS / 4
        for request in list(self.requests.values()):
            age = now - request.began
            if age >= LIMIT:
                if not request.is_counted:
                    self._count(request, Fate.UNANSWERED, "the limit is over")
                self._forget(request)
            elif age >= PATIENCE_SECONDS and not self.target.is_stream and not request.is_late:
                request.is_late = True
                self.idle += 1

    def _collect(self) -> None:
        """Nobody is left who could answer: read what has arrived, and call the rest unanswered.

        A handshake that is not over by now never will be: its SYN met a listener in the moment of its close, which
        drops it in silence.
        """
        for request in list(self.requests.values()):
            if not request.is_counted:
                fate = request.proceed()
                never_met = self.target.is_stream and not request.is_sent
                self._count(request, *(fate or (Fate.REFUSED if never_met else Fate.UNANSWERED, "nobody is left")))
            self._forget(request)


def _main(url: str, talk: str, clients: str, memory: str, number: str, news: str) -> None:
    cells = memoryview(mmap.mmap(int(memory), 0)).cast("Q")
    first = int(number) * len(Fate)
    _Clients(endpoint(url), TALKS[talk], int(clients), cells[first : first + len(Fate)], int(news)).run()


def udp_drops(url: str) -> int:
    """How many datagrams the sockets on this port have dropped, proc(5)."""
    address = endpoint(url).address
    assert isinstance(address, tuple)
    port = f":{address[1]:04X}"
    drops = 0
    for table in ("/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"):
        with open(table) as rows:
            drops += sum(int(row.split()[-1]) for row in rows if row.split()[1].endswith(port))
    return drops


if __name__ == "__main__":
    _main(*sys.argv[1:])
