"""The figures, one function each. A figure starts its servers, measures, and returns rows."""

import os
import re
import signal
import socket
import socketserver as original
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from prefork import socketserver
from tests.bench import applications, clients, steering, upheaval, watching
from tests.bench.measure import Contender, Options, Row, compare, judge, tell_progress
from tests.bench.servers import (
    Server,
    bare_process,
    forked,
    forking,
    serve_bare,
    serve_bare_datagrams,
    serve_by,
    serve_poll_then_accept,
    started,
    supervised,
    wait_for_line,
    workers_of,
)

Figure = Callable[[Options], list[Row]]
POOLS = (2, 8, 32)
COLLAPSE = 2.5  # times the cost in the smallest pool: what poll-then-accept comes to with 32 processes


def worker(options: Options) -> list[Row]:
    """CPU a request of one worker, one TCP connection a request"""
    with ExitStack() as stack:
        enter = stack.enter_context

        def worker_of(handler: str, *flags: str) -> Server:
            return enter(supervised(f"applications:{handler}", *flags))

        contenders = [
            Contender("bare accept loop", enter(forked(serve_bare))),
            Contender(
                "`socketserver.TCPServer.serve_forever`, `BaseRequestHandler`",
                enter(forked(serve_by(original.TCPServer, applications.OriginalEcho))),
            ),
            Contender(
                "`socketserver.TCPServer.serve_forever`, `StreamRequestHandler`, both files",
                enter(forked(serve_by(original.TCPServer, applications.OriginalBothFiles))),
            ),
            Contender("worker, `BaseRequestHandler`", worker_of("Echo"), 1.15),
            Contender("the same with `request_hard`", worker_of("Echo", "--request-hard", "60s"), 1.15),
            Contender("the same with `timeout`", worker_of("Echo", "--timeout", "60s"), 1.15),
            Contender("worker, `StreamRequestHandler`, neither file", worker_of("NoFile"), 1.20),
            Contender("worker, `StreamRequestHandler`, one file", worker_of("OneFile"), 1.20),
            Contender("worker, `StreamRequestHandler`, both files", worker_of("BothFiles"), 1.30),
            Contender(
                "worker, the original's `StreamRequestHandler`, both files", worker_of("OriginalBothFiles"), 1.30
            ),
        ]
        return compare(contenders, clients.one_by_one, options)


def titles(options: Options) -> list[Row]:
    """CPU a request of one worker, by how much its title tells"""
    with ExitStack() as stack:
        contenders = [
            Contender(f"`titles = {level}`", stack.enter_context(supervised("applications:Echo", "--titles", level)))
            for level in ("none", "state", "request")
        ]
        return compare(contenders, clients.one_by_one, options)


def crowd(options: Options) -> list[Row]:
    """CPU a request, summed over 2, 8 and 32 workers that share one core"""
    rows = []
    for name, send in (("one client at a time", clients.one_by_one), ("64 at a time", clients.in_bursts)):
        with ExitStack() as stack:
            ours = [stack.enter_context(supervised("applications:Echo", workers=number)) for number in POOLS]
            theirs = [stack.enter_context(forked(serve_poll_then_accept, number)) for number in POOLS]
            contenders = [Contender(f"{name}: {POOLS[0]} workers", ours[0])]
            contenders += [
                Contender(f"{name}: {number} workers", server, COLLAPSE)
                for number, server in zip(POOLS[1:], ours[1:], strict=True)
            ]
            contenders += [
                Contender(f"{name}: poll, then accept in {number} processes", server)
                for number, server in zip(POOLS, theirs, strict=True)
            ]
            requests = max(clients.BURST, options.requests // clients.BURST * clients.BURST)
            rows += compare(contenders, send, options._replace(requests=requests))
    return rows


def datagrams(options: Options) -> list[Row]:
    """CPU a datagram of one worker, each answered by one"""
    udp = socket.SOCK_DGRAM
    with ExitStack() as stack:
        contenders = [
            Contender("bare `recvfrom` loop", stack.enter_context(forked(serve_bare_datagrams, 1, udp))),
            Contender(
                "`socketserver.UDPServer.serve_forever`",
                stack.enter_context(
                    forked(serve_by(original.UDPServer, applications.OriginalDatagram), 1, udp),
                ),
            ),
            Contender(
                "worker, `BaseRequestHandler`",
                stack.enter_context(supervised("applications:Datagram", scheme="udp")),
                1.15,
            ),
        ]
        return compare(contenders, clients.datagrams, options)


def threads(options: Options) -> list[Row]:
    """CPU a request of the framework's servers: one process, and threads"""
    plain, threaded = socketserver.TCPServer, socketserver.ThreadingTCPServer
    with ExitStack() as stack:
        enter = stack.enter_context
        echo, original_echo = applications.Echo, applications.OriginalEcho
        contenders = [
            Contender("bare accept loop", enter(forked(serve_bare))),
            Contender("`socketserver.TCPServer`", enter(forked(serve_by(original.TCPServer, original_echo)))),
            Contender("`prefork.socketserver.TCPServer`", enter(forked(serve_by(plain, echo)))),
            Contender(
                "`socketserver.ThreadingTCPServer`", enter(forked(serve_by(original.ThreadingTCPServer, original_echo)))
            ),
            Contender("`prefork.socketserver.ThreadingTCPServer`", enter(forked(serve_by(threaded, echo))), 2.0),
        ]
        return compare(contenders, clients.one_by_one, options)


def forks(options: Options) -> list[Row]:
    """CPU a request of a server that forks for each: the parent's and its children's"""
    with ExitStack() as stack:
        contenders = [
            Contender(
                "`socketserver.ForkingTCPServer`",
                stack.enter_context(forking(original.ForkingTCPServer, applications.OriginalEcho)),
            ),
            Contender(
                "`prefork.socketserver.ForkingTCPServer`",
                stack.enter_context(forking(socketserver.ForkingTCPServer, applications.Echo)),
                1.0,
            ),
        ]
        return compare(contenders, clients.one_by_one, options._replace(requests=max(50, options.requests // 5)))


def replacement(options: Options) -> list[Row]:
    """From SIGKILL of the only worker to its replacement's reply"""
    seconds = []
    with supervised("applications:Echo") as server:
        for number in range(30):
            clients.one_by_one(server.port, 20)  # whoever dies before it has proven itself is not replaced at once
            time.sleep(0.25)  # nor are those that die too often
            (pid,) = workers_of(server.master)
            begin = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            clients.ask(server.port)
            seconds.append(time.perf_counter() - begin)
            tell_progress(number + 1, 30)
    return [judge("SIGKILL → reply, 30 times", [1000 * s for s in seconds], "ms", 5)]


def births(options: Options) -> list[Row]:
    """From the first of 100 workers that is ready to the last"""
    seconds = []
    for number in range(5):
        with started("applications:Echo", "-w", "100") as (master, port):
            clients.ask(port)
            begin = time.perf_counter()
            wait_for_line(master, "serves with 100")
            seconds.append(time.perf_counter() - begin)
        tell_progress(number + 1, 5)
    return [judge("first reply → all 100 ready, 5 times", seconds, "s", 0.5)]


def start(options: Options) -> list[Row]:
    """From the start of `prefork run` to the first reply"""
    bare, seconds = [], []
    for number in range(options.rounds):
        begin = time.perf_counter()
        with bare_process() as server:
            clients.ask(server.port)
            bare.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        with started("applications:Echo", "-w", "1") as (_, port):
            clients.ask(port)
            seconds.append(time.perf_counter() - begin)
        tell_progress(number + 1, options.rounds)
    return [
        judge("an interpreter that binds and forks a bare loop", [1000 * s for s in bare], "ms"),
        judge("`prefork run`", [1000 * s for s in seconds], "ms", 150),
    ]


def memory(options: Options) -> list[Row]:
    """Memory of one worker that is nobody else's (USS), after 100 requests and a full garbage collection"""
    cases: list[tuple[str, Callable[[], AbstractContextManager[Server]], str, float | None]] = [
        ("bare forked loop", bare_process, "", None),
        ("worker", lambda: supervised("applications:Collecting"), "bare forked loop", 1.0),
        ("bare forked loop, 50 MB preloaded", lambda: bare_process("heavy"), "bare forked loop", None),
        (
            "the same after `gc.freeze`",
            lambda: bare_process("heavy", "frozen"),
            "bare forked loop",
            None,
        ),
        ("worker, 50 MB preloaded", lambda: supervised("heavy:Collecting"), "bare forked loop", 2.0),
    ]
    found: dict[str, list[float]] = {name: [] for name, *_ in cases}
    for number in range(3):
        for name, begin, _, _ in cases:
            with begin() as server:
                clients.one_by_one(server.port, 100)
                clients.ask(server.port, b"collect\n")
                found[name].append(own_memory(server.pids[0]))
        tell_progress(number + 1, 3)
    rows = []
    for name, _, reference, limit in cases:
        mib = statistics.median(found[name])
        more = mib - statistics.median(found[reference]) if reference else 0.0
        value = f"{mib:.2f} MiB" + (f", {more:+.2f}" if reference else "")
        promise, is_kept = ("", None) if limit is None else (f"≤ +{limit:g} MiB", more <= limit)
        rows.append(Row(name, value, promise, is_kept))
    return rows


def own_memory(pid: int) -> float:
    """MiB, proc(5)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Private_(?:Clean|Dirty): +(\d+)", text, re.MULTILINE)) / 1024


FIGURES: dict[str, Figure] = {
    figure.__name__: figure
    for figure in (
        worker,
        titles,
        watching.watched,
        crowd,
        datagrams,
        threads,
        forks,
        replacement,
        births,
        start,
        memory,
        upheaval.deadlines,
        upheaval.decision,
        upheaval.reload,
        upheaval.recycling,
        upheaval.wave,
        steering.status,
    )
}
