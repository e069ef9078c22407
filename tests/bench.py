"""``make bench``: CPU a request of one worker, beside a bare accept loop and the standard library's server.

Machines are shared and noisy, so nothing here is a throughput: each round sends the same requests to each server in
turn, reads from the kernel how long that one process was on a CPU (schedstat, nanoseconds), and compares within the
round. What is printed is the median ratio, with the interval that holds 90 % of the resampled medians.
"""

import argparse
import os
import random
import re
import signal
import socket
import socketserver
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

REQUESTS = 3000
ROUNDS = 15


class Echo(socketserver.BaseRequestHandler):
    """The cheapest handler: what a request costs here is what the server around it costs."""

    def handle(self) -> None:
        self.request.sendall(self.request.recv(4096))


def serve_bare(listener: socket.socket) -> None:
    """accept, recv, send, close: the floor nobody can be under in this language."""
    while True:
        client, _ = listener.accept()
        client.sendall(client.recv(4096))
        client.shutdown(socket.SHUT_WR)
        client.close()


def serve_stdlib(listener: socket.socket) -> None:
    server = socketserver.TCPServer(listener.getsockname(), Echo, bind_and_activate=False)
    server.socket = listener
    server.serve_forever()


@contextmanager
def forked(serve: Callable[[socket.socket], None]) -> Iterator[tuple[int, int]]:
    """Port and pid of a child that serves."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        port = listener.getsockname()[1]
        pid = os.fork()
        if pid == 0:
            try:
                serve(listener)
            finally:
                os._exit(1)
    try:
        yield port, pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def supervised(*flags: str) -> Iterator[tuple[int, int]]:
    """Port and pid of the only worker of a master."""
    argv = [sys.executable, "-m", "prefork", "run", "tests.bench:Echo", "-b", "tcp://127.0.0.1:0", "-w", "1", *flags]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as master:
        assert master.stderr is not None
        log = ""
        while "serves with" not in log:
            log += master.stderr.readline() or sys.exit(f"the master did not start:\n{log}")
        port = int(re.findall(r"tcp://127\.0\.0\.1:(\d+)", log)[0])
        children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()
        (worker,) = [int(pid) for pid in children if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        try:
            yield port, worker
        finally:
            master.terminate()
            master.communicate()


def send(port: int, requests: int) -> None:
    for _ in range(requests):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"x" * 64)
            assert client.recv(4096) == b"x" * 64


def on_cpu_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def interval(ratios: list[float]) -> tuple[float, float]:
    """What 90 % of the medians of resampled rounds lie between."""
    medians = sorted(statistics.median(random.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[100], medians[-100]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    options = parser.parse_args()
    with ExitStack() as stack:
        servers = {
            "bare accept loop": stack.enter_context(forked(serve_bare)),
            "socketserver": stack.enter_context(forked(serve_stdlib)),
            "prefork worker": stack.enter_context(supervised()),
            "the same, with a deadline": stack.enter_context(supervised("--request-hard", "60s")),
        }
        costs: dict[str, list[float]] = {name: [] for name in servers}
        for number in range(options.rounds + 1):
            for name, (port, pid) in servers.items():
                before = on_cpu_ns(pid)
                send(port, options.requests)
                if number:  # the first round warms up
                    costs[name].append((on_cpu_ns(pid) - before) / options.requests / 1000)
            print(f"\rround {number} of {options.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    floor = costs["bare accept loop"]
    for name, cost in costs.items():
        ratios = [mine / theirs for mine, theirs in zip(cost, floor, strict=True)]
        low, high = interval(ratios)
        print(
            f"{name:28} {statistics.median(cost):6.1f} µs of CPU a request, "
            f"{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f}) of a bare loop"
        )


if __name__ == "__main__":
    main()
