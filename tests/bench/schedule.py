"""Requests on a schedule: each is due at its moment, whether those before it were answered or not.

A server that stalls cannot hide it: what was due meanwhile waits, and its wait counts from when it was due, not from
when it could be sent. Started as a process of its own; prints, as JSON, due time and seconds of each request.
"""

import contextlib
import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.bench.clients import LIMIT, LINE

LOST = 1e9  # seconds: longer than any answer takes


class Sample(NamedTuple):
    """:param due: on the monotonic clock; ``seconds`` until its reply, ``LOST`` for one that had none."""

    due: float
    seconds: float


class Phase(NamedTuple):
    """So many requests a second for so long."""

    rate: float
    seconds: float


@contextlib.contextmanager
def scheduled(port: int, phases: Iterable[Phase]) -> Iterator["subprocess.Popen[str]"]:
    """A client process that has begun."""
    words = [f"{phase.rate:g}x{phase.seconds:g}" for phase in phases]
    argv = [sys.executable, "-m", __name__, str(port), *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def samples_of(process: "subprocess.Popen[str]") -> list[Sample]:
    """All of its requests, once it has ended."""
    out, _ = process.communicate()
    return [Sample(*sample) for sample in json.loads(out)]


def percentile(samples: Iterable[Sample], share: float) -> float:
    """Seconds within which that share of the requests was answered."""
    ordered = sorted(sample.seconds for sample in samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# what follows runs in the client's own process


def _main(port: int, phases: list[Phase]) -> None:
    print("begun", flush=True)
    epoll = select.epoll()
    under_way: dict[int, tuple[socket.socket, float]] = {}
    samples: list[Sample] = []
    moments = _moments(phases)
    due = next(moments, None)
    while due is not None or under_way:
        while due is not None and due <= time.monotonic():
            client = _connect(port)
            under_way[client.fileno()] = client, due
            epoll.register(client, select.EPOLLOUT)
            due = next(moments, None)
        for fd, event in epoll.poll(LIMIT if due is None else max(0.0, due - time.monotonic())):
            client, was_due = under_way[fd]
            if event == select.EPOLLOUT:
                client.send(LINE)
                epoll.modify(client, select.EPOLLIN)
            else:
                samples.append(_end(client, was_due))
                del under_way[fd]
    json.dump(samples, sys.stdout)


def _connect(port: int) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        client.connect(("127.0.0.1", port))
    return client


def _moments(phases: list[Phase]) -> Iterator[float]:
    begun = time.monotonic()
    for rate, seconds in phases:
        yield from (begun + number / rate for number in range(int(rate * seconds)))
        begun += seconds


def _end(client: socket.socket, due: float) -> Sample:
    with client:
        try:
            is_answered = client.recv(4096) == LINE
        except ConnectionError:
            is_answered = False
    return Sample(due, time.monotonic() - due if is_answered else LOST)


if __name__ == "__main__":
    _main(int(sys.argv[1]), [Phase(*map(float, word.split("x"))) for word in sys.argv[2:]])
