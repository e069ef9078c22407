"""A generator: one process, one loop, that sends its share of a load when it is due and writes down what came of it.

Started by ``generators.py`` as ``python -m prefork.lab.generator``. It is told by lines of JSON on standard input: the
load first, then the instant to begin at; the end of that input is an order to stop. It answers by lines on what was
its standard output: a script that prints does so on standard error. It must not know of other generators, nor judge
what it measures.
Invariant: whatever the server does, a request of an open loop counts from its intended start.
Read next: ``connection.py``, what one request goes through; ``samples.py``, where the figures go.
"""

import gc
import heapq
import math
import os
import select
import time
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import count

import msgspec
import numpy as np

from prefork.errors import PreforkError, UsageError
from prefork.lab import arrivals
from prefork.lab.aim import aim_of
from prefork.lab.calibration import least_latency
from prefork.lab.connection import Connection
from prefork.lab.load import GeneratorUse
from prefork.lab.reports import Failed, Finished, Order, Ready, Report, State
from prefork.lab.samples import Tape
from prefork.lab.wires import maker_of
from prefork.system.limits import raise_descriptors

TICK = 0.1  # seconds from one report to the next
PAUSE = 0.01  # seconds a client waits that could not connect, so that its errors do not become a storm
GIVE_UP = 1.0  # seconds after which a service that never took a connection is taken for absent
BATCH = 64  # events taken, and requests begun, at a time: while one is done the other waits, and its time is taken late
ENOUGH_DESCRIPTORS = 1 << 20
_SERVED = {"wrong", "status", "timeout", "lost", "closed", "reset", "unsent"}
"""Errors of a service that is there; after any other a client pauses."""
STDIN, STDOUT, STDERR = 0, 1, 2

clock = time.monotonic


class GaveUpError(Exception):
    """The service cannot be reached."""


class Generator:
    """See above.

    :param say: takes reports for the parent.
    """

    def __init__(self, order: Order, say: Callable[[Report], None]) -> None:
        load = order.load
        self._load = load
        self._say = say
        self._start = self._zero = self._end = math.inf  # until the first is known
        self._epoll = select.epoll()
        self._by_fd: dict[int, Connection] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = count()
        self._numbers = count(order.part, order.parts)
        self._under_way: OrderedDict[Connection, None] = OrderedDict()  # the longest first, so the first is due first
        self._waiting: deque[float] = deque()  # intended starts that had no connection
        self._left = math.inf  # measured requests that may still be begun
        if load.requests is not None:
            self._left = arrivals.share(load.requests, order.part, order.parts)
        self._is_open_loop = load.rate is not None
        self._arrivals = self._arrivals_of(order)
        self._due = math.inf
        make = maker_of(load, aim_of(load.url), self)
        self._connections = [make() for _ in range(arrivals.share(load.clients, order.part, order.parts))]
        self._free = self._connections[::-1]
        self._tape = Tape(order.tape)
        self._late = array("d")
        self._ended_at: float | None = None
        self._is_stopped = False
        self._measured = 0  # requests over in the measured time, for what one costs
        self._cpu = self._cpu_from = 0.0
        self._opened = self._dropped = self._failures = 0
        self._before = (0, 0, 0, 0)  # what had been opened, dropped, sent and received in the warm-up
        self._first_error = ("", 0.0)
        self._last_error = ""
        self._least_latency = least_latency()

    def _arrivals_of(self, order: Order) -> Iterator[float]:
        """Of an open loop, on the monotonic clock; a closed one has none."""
        load = order.load
        if load.rate is None:
            return
        if load.arrivals == "constant":
            times = arrivals.constant(load.rate, order.part, order.parts)
        else:
            times = arrivals.poisson(load.rate, order.part, order.parts, seed=load.seed)
        last = load.warm_up + load.duration
        for at in times:
            if at >= last:
                return
            yield self._start + at

    def run(self, start: float) -> Finished:
        """Send it all, and wait for what was sent.

        :param start: the instant to begin at, on the monotonic clock.
        :raises GaveUpError: nobody is there.
        """
        self._start = start
        self._zero = self._tape.zero = start + self._load.warm_up
        self._end = self._zero + self._load.duration
        self._due = next(self._arrivals, math.inf)
        self._epoll.register(STDIN, select.EPOLLIN)
        self._at(self._zero, self._begin_measuring)
        self._at(self._end, self._end_measuring)
        self._at(self._start + self._load.timeout, self._expire)
        self._at(self._start + TICK, self._report)
        time.sleep(max(0.0, self._start - clock()))
        try:
            while not self._is_over():
                self._turn()
        finally:
            self._tape.flush()
        return self._finished()

    def _is_over(self) -> bool:
        if self._is_stopped:
            return True
        return self._ended_at is not None and self._due == math.inf and not self._under_way and not self._waiting

    def _turn(self) -> None:
        now = clock()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        self._assign(BATCH)
        for fd, mask in self._wait():
            connection = self._by_fd.get(fd)
            if connection is not None:
                connection.on_event(mask)
                if self._free:
                    self._assign(1)
            elif fd == STDIN and not os.read(STDIN, 4096):
                self._is_stopped = True

    def _wait(self) -> list[tuple[int, int]]:
        """For events, until the next timer or arrival is due; exactly, for epoll_wait(2) counts in milliseconds."""
        until = min(self._timers[0][0] if self._timers else math.inf, self._due)
        if self._free and (self._waiting if self._is_open_loop else self._ended_at is None):
            return self._epoll.poll(0, BATCH)  # there is more to begin
        left = until - clock()
        if left > 0 and self._is_open_loop:
            select.select([self._epoll], [], [], left)
            left = 0
        return self._epoll.poll(max(0.0, left), BATCH)

    def _assign(self, most: int) -> None:
        """Give free connections what is due, each at its own instant: to begin many takes a while."""
        if self._is_open_loop:
            for _ in range(most):
                if self._waiting and self._free:
                    self._begin(self._free.pop(), self._waiting.popleft(), clock())
                elif self._due <= (now := clock()):
                    self._take_due(now)
                else:
                    return
        elif self._free:
            free, self._free = self._free[:most], self._free[most:]  # those that sending alone answers wait their turn
            for connection in free:
                now = clock()
                if self._ended_at is not None or now >= self._end:
                    return
                self._count_down(now)
                self._begin(connection, now, now)

    def _take_due(self, now: float) -> None:
        """One request of an open loop; where a connection is free, any lateness is our own."""
        due = self._next_due()
        if self._free:
            if due >= self._zero:
                self._late.append(now - due)
            self._begin(self._free.pop(), due, now)
        else:
            self._waiting.append(due)
        self._count_down(due)

    def _next_due(self) -> float:
        due, self._due = self._due, next(self._arrivals, math.inf)
        return due

    def _count_down(self, intended: float) -> None:
        if intended >= self._zero:
            self._left -= 1
            if self._left <= 0:
                self._due = math.inf
                self._end_measuring()

    def _begin(self, connection: Connection, intended: float, now: float) -> None:
        self._under_way[connection] = None
        connection.begin(next(self._numbers), intended, now)

    # what connections tell, and want

    def watch(self, connection: Connection, fd: int, mask: int) -> None:
        if fd not in self._by_fd:
            self._by_fd[fd] = connection
            self._epoll.register(fd, mask)
        elif mask:
            self._epoll.modify(fd, mask)
        else:
            del self._by_fd[fd]  # the kernel forgets what is closed

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self._at(clock() + seconds, call)

    def opened(self) -> None:
        self._opened += 1

    def dropped(self) -> None:
        self._dropped += 1

    def answered(self, connection: Connection) -> None:
        now = clock()
        del self._under_way[connection]
        if connection.intended >= self._zero:
            self._measured += 1
            self._tape.write(connection.intended, connection.started, now)
        self._free.append(connection)

    def failed(self, connection: Connection, kind: str, text: str) -> None:
        now = clock()
        del self._under_way[connection]
        self._failures += 1
        if connection.intended >= self._zero:
            self._measured += 1
            self._tape.write(connection.intended, connection.started, now, self._tape.code(kind))
            if not self._first_error[0]:
                self._first_error = f"{kind}: {text}", now - self._zero
        self._last_error = text
        if kind in _SERVED:
            self._free.append(connection)
        else:
            self.later(PAUSE, lambda: self._free.append(connection))

    # what happens in time

    def _at(self, when: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (when, next(self._timer_numbers), call))

    def _begin_measuring(self) -> None:
        """What was due in the warm-up and has not been begun never will be, or it would be measured by its effect."""
        self._waiting = deque(due for due in self._waiting if due >= self._zero)
        while self._due < self._zero:
            self._next_due()
        self._cpu_from = time.process_time()
        self._before = self._totals()

    def _totals(self) -> tuple[int, int, int, int]:
        """Connections opened, dropped, bytes sent, received."""
        sent = sum(connection.sent for connection in self._connections)
        return self._opened, self._dropped, sent, sum(connection.received for connection in self._connections)

    def _end_measuring(self) -> None:
        """Nothing new is begun from now on; what is under way or due is waited for, as long as one request may take."""
        if self._ended_at is None:
            self._ended_at = clock()
            self._cpu = time.process_time() - self._cpu_from
            self._at(self._ended_at + self._load.timeout, self._leave_unsent)

    def _leave_unsent(self) -> None:
        now = clock()
        unsent = self._tape.code("unsent")
        while self._due <= now:
            self._waiting.append(self._next_due())
            self._count_down(self._waiting[-1])
        while self._waiting:
            intended = self._waiting.popleft()
            if intended >= self._zero:
                self._tape.write(intended, now, now, unsent)

    def _leave_unfinished(self) -> None:
        """What is under way when all is ended early was asked for too, and may have waited longest."""
        now = clock()
        unfinished = self._tape.code("unfinished")
        for connection in self._under_way:
            if connection.intended >= self._zero:
                self._tape.write(connection.intended, connection.started, now, unfinished)

    def _expire(self) -> None:
        """All have the same time, so the one begun first is late first. Asked again when the next one may be."""
        now, limit = clock(), self._load.timeout
        while self._under_way:
            connection = next(iter(self._under_way))
            if connection.started + limit > now:
                self._at(connection.started + limit, self._expire)
                return
            connection.overdue()
        self._at(now + limit, self._expire)

    def _report(self) -> None:
        self._tape.flush()
        self._say(State(len(self._under_way), len(self._waiting)))
        self.later(TICK, self._report)
        if self._failures and not self._opened and clock() > self._start + GIVE_UP:
            raise GaveUpError(f"{self._load.url}: {self._last_error}; is the service running there?")

    def _finished(self) -> Finished:
        if self._is_stopped:
            self._end_measuring()
            self._leave_unsent()
            self._leave_unfinished()
            self._tape.flush()
        assert self._ended_at is not None
        seconds = max(0.0, self._ended_at - self._zero)
        opened, dropped, sent, received = (
            now - before for now, before in zip(self._totals(), self._before, strict=True)
        )
        late_p50, late_p99 = np.percentile(self._late, (50, 99)).tolist() if self._late else (0.0, 0.0)
        return Finished(
            use=GeneratorUse(self._cpu, seconds, self._measured, late_p50, late_p99, self._least_latency),
            seconds=seconds,
            kinds=self._tape.kinds,
            connections=opened,
            dropped=dropped,
            sent=sent,
            received=received,
            first_error=self._first_error[0],
            first_error_at=self._first_error[1],
        )


def _mouth() -> Callable[[Report], None]:
    """What says reports to the parent. Its descriptor is nobody else's: whoever prints does not speak to the parent."""
    fd = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)

    def say(report: Report) -> None:
        """How it goes is not worth waiting for a parent that does not read."""
        if isinstance(report, State) and not select.select([], [fd], [], 0)[1]:
            return
        os.write(fd, msgspec.json.encode(report) + b"\n")

    return say


def _precisely() -> None:
    """Wake when it is due, not up to 50 µs later, proc_pid_timerslack_ns(5)."""
    try:
        with open("/proc/self/timerslack_ns", "w") as slack:
            slack.write("1")
    except OSError:
        pass


def main() -> None:
    """Be a generator."""
    raise_descriptors(ENOUGH_DESCRIPTORS)
    _precisely()
    say = _mouth()
    lines = os.fdopen(STDIN, "rb", buffering=0, closefd=False)
    order = msgspec.json.decode(lines.readline(), type=Order)
    try:
        generator = Generator(order, say)
        gc.freeze()
        say(Ready())
        start = lines.readline()
        if start:
            say(generator.run(float(start)))
    except GaveUpError as error:
        say(Failed(str(error), is_usage=False))
    except PreforkError as error:
        say(Failed(str(error), is_usage=isinstance(error, UsageError)))


if __name__ == "__main__":
    main()
