"""Figures of those who look at a master: what they wait for an answer."""

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

from prefork.control.client import ask_status, connect, find
from prefork.control.messages import Status, address_of, encode
from prefork.system.limits import raise_descriptors
from tests.bench.measure import Options, Row, judge, tell_progress
from tests.bench.servers import started, wait_for_line

WORKERS = 500
NAME = "bench-status"


def status(options: Options) -> list[Row]:
    """What `prefork status` takes with 500 workers, all of them busy"""
    raise_descriptors(2 * WORKERS)
    with ExitStack() as stack:
        enter = stack.enter_context
        master, port = enter(started("applications:Echo", "-w", str(WORKERS), "-n", NAME))
        wait_for_line(master, f"serves with {WORKERS}")
        for _ in range(WORKERS):  # a client that says nothing keeps its worker busy
            enter(socket.create_connection(("127.0.0.1", port)))
        with connect(find(NAME)) as connection:
            while ask_status(connection).snapshot.services[0].busy < WORKERS:
                pass
        client = enter(socket.socket(socket.AF_UNIX))
        client.connect("\0" + address_of(NAME, os.getuid()).path[1:])
        answer, table, plain = [], [], []
        for number in range(options.rounds):
            answer.append(1000 * _answer(client))
            table.append(1000 * _command())
            plain.append(1000 * _command("--json"))
            tell_progress(number + 1, options.rounds)
    return [
        judge("request → last byte on the control socket", answer, "ms", 100),
        judge("`prefork status`, from its start to its end", table, "ms"),
        judge("`prefork status --json`", plain, "ms"),
    ]


def _answer(client: socket.socket) -> float:
    """Seconds from the request to the last byte that answers it."""
    begin = time.perf_counter()
    client.sendall(encode(Status()))
    last = b""
    while not (last.endswith(b"\n") and b'"kind":"snapshot"' in last):
        data = client.recv(1 << 20)
        if not data:
            sys.exit("the master ended before it had answered")
        last = (last + data).rstrip(b"\n").rpartition(b"\n")[2] + b"\n" * data.endswith(b"\n")
    return time.perf_counter() - begin


def _command(*flags: str) -> float:
    """Seconds of the whole command."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "prefork", "status", "-n", NAME, *flags]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin
