"""Whole loads: real generators against small services. Counts, kinds and shapes; speed is nobody's promise."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from prefork.errors import CommandError, PreforkError, UsageError
from prefork.lab.generators import Progress, run
from prefork.lab.load import Load
from prefork.lab.outcome import histogram_of, latencies_of
from tests.children import LIMIT
from tests.end_to_end.harness import ROOT, TCP, all_processes, serving
from tests.lab.services import answer_once, datagrams, echo, nobody, service

LONG = 600.0  # seconds; each of these loads ends by its count, or because it is told to


def counted(url: str, requests: int, **wishes: object) -> Load:
    wanted = {"send": b"hello\n", "duration": LONG, "warm_up": 0.0, "requests": requests, **wishes}
    return Load(url=url, **wanted)  # type: ignore[arg-type]


def generators() -> list[int]:
    """Their pids."""
    return [process.pid for process in all_processes() if process.parent == os.getpid() and not process.is_zombie]


def test_a_closed_loop_of_several_processes() -> None:
    """As many requests as were asked for, each a row, and each by a connection of its own."""
    with service(answer_once) as url:
        result, samples = run(counted(url, 101, clients=5, processes=2, expect=b"hello\n"))
    assert (result.requests, result.errors, result.connections, result.failed) == (101, {}, 101, 0)
    assert (result.bytes_sent, result.bytes_received) == (606, 606)
    assert [use.requests for use in result.generators] == [51, 50]
    assert len(samples.rows) == 101
    assert np.array_equal(samples.rows["intended"], samples.rows["started"])
    assert (samples.rows["started"] <= samples.rows["ended"]).all()
    assert result.seconds >= samples.rows["ended"].max()
    assert result.latency is not None
    assert result.latency.p50 <= result.latency.p99 <= result.latency.maximum
    assert generators() == []


def test_an_open_loop_starts_when_it_should() -> None:
    """Evenly, two processes in turn, whatever the service does; kept connections are used again."""
    with service(echo) as url:
        load = counted(
            url, 60, rate=300.0, arrivals="constant", clients=8, processes=2, reply="line", per_connection=None
        )
        result, samples = run(load)
    assert result.requests == 60
    assert result.connections <= 8
    assert np.allclose(np.sort(samples.rows["intended"]), np.arange(60) / 300)
    assert (samples.rows["intended"] <= samples.rows["started"]).all()
    assert (samples.latencies >= samples.services).all()


def test_warm_up_is_sent_and_not_counted() -> None:
    """The service sees more requests than there are rows."""
    seen: list[int] = []

    def behave(client: socket.socket) -> None:
        seen.append(1)
        answer_once(client)

    with service(behave) as url:
        result, samples = run(counted(url, 20, rate=200.0, warm_up=0.2))
    assert result.requests == len(samples.rows) == result.connections == 20
    assert len(seen) > 20
    assert samples.rows["intended"].min() >= 0


def test_a_stalled_service_cannot_hide_its_stall() -> None:
    """It stands at a gate while requests go on being due: they wait too, although each of them is served quickly."""
    gate = threading.Event()
    most = 0

    def stalled(client: socket.socket) -> None:
        assert gate.wait(LIMIT)
        answer_once(client)

    def watch(progress: Progress) -> None:
        nonlocal most
        most = max(most, progress.in_flight)
        if progress.in_flight >= 30:
            gate.set()

    with service(stalled) as url:
        load = counted(url, 80, rate=200.0, arrivals="constant", clients=1, timeout=LONG)
        result, samples = run(load, watch)
    assert result.requests == 80
    assert result.latency is not None
    stall = 30 / 200  # at least, for so many had become due behind it
    assert most >= 30
    assert result.latency.p99 >= stall
    waited, served = samples.latencies, samples.services
    assert served.max() >= stall  # the one that stood at the gate
    assert np.sum(waited >= stall / 2) >= 15  # those that were due meanwhile
    assert np.sum(served >= stall / 2) <= np.sum(waited >= stall / 2) / 3  # which other tools would show as quick


def test_what_an_open_loop_could_not_send_is_counted() -> None:
    """One connection, held for ever: the rest was due and never begun."""

    def hold(client: socket.socket) -> None:
        while client.recv(4096):  # until it goes
            pass

    with service(hold) as url:
        result, samples = run(counted(url, 20, rate=1000.0, arrivals="constant", clients=1, timeout=0.2, reply="line"))
    assert result.requests == 0
    assert result.latency is None
    assert result.errors["timeout"] >= 1
    assert result.errors["unsent"] + result.errors["timeout"] == 20 == len(samples.rows)
    assert {"errors", "behind"} <= {doubt.kind for doubt in result.doubts}
    assert result.first_error == "timeout: no reply within the timeout"


def test_what_queued_in_the_warm_up_is_not_measured() -> None:
    """Nor is its queue: the first request that counts finds the connection as soon as the one under way has left it."""
    gate = threading.Event()

    def watch(progress: Progress) -> None:
        if progress.at_seconds > 0:
            gate.set()

    def stalled(client: socket.socket) -> None:
        assert gate.wait(LIMIT)
        answer_once(client)

    seen: list[int] = []

    def counting(client: socket.socket) -> None:
        seen.append(1)
        stalled(client)

    with service(counting) as url:
        load = counted(url, 10, rate=200.0, arrivals="constant", clients=1, timeout=LONG, warm_up=0.3)
        result, _ = run(load, watch)
    assert result.requests == 10
    assert len(seen) == 11  # and not the 60 that were due before


def test_clients_that_get_nothing_are_told() -> None:
    """One place for three kept connections: two clients wait from the warm-up to the end, and nobody waits for them."""
    place = threading.Lock()

    def serve_one(client: socket.socket) -> None:
        with place:
            echo(client)

    with service(serve_one) as url:
        load = counted(url, 20, clients=3, reply="line", per_connection=None, timeout=LONG, warm_up=0.5)
        result, _ = run(load)
    assert (result.requests, result.errors) == (20, {})
    (doubt,) = [doubt for doubt in result.doubts if doubt.kind == "starved"]
    assert doubt.text.startswith("2 of 3 clients got no reply in all the time that was measured: connections are kept ")


def test_what_fails_after_the_warm_up_is_an_error() -> None:
    """Although it was begun before: a closed loop has nothing else to show of that client."""
    gate = threading.Event()

    def watch(progress: Progress) -> None:
        if progress.at_seconds > 0:
            gate.set()

    def close_first(client: socket.socket) -> None:
        if gate.is_set():
            answer_once(client)
        else:
            client.recv(4096)
            assert gate.wait(LIMIT)

    with service(close_first) as url:
        result, samples = run(counted(url, 1, reply="line", timeout=LONG, warm_up=0.5), watch)
    assert (result.requests, result.errors) == (1, {"closed": 1})
    assert samples.rows["intended"].min() < 0 < samples.rows["ended"].min()


def test_datagrams_that_are_lost() -> None:
    """Every second one is not answered."""

    def forgetful(server: socket.socket) -> None:
        for number in range(10):
            data, client = server.recvfrom(4096)
            if number % 2:
                server.sendto(data, client)

    with datagrams(forgetful) as url:
        result, _ = run(counted(url, 10, reply="datagram", per_connection=None, timeout=0.1))
    assert (result.requests, result.errors) == (5, {"lost": 5})


def test_http_of_a_service_under_a_master() -> None:
    """The standard library's server, as anybody would load it."""
    server = ("http.server:HTTPServer", "--handler", "http.server:SimpleHTTPRequestHandler", "-b", TCP, "-w", "2")
    with serving(*server) as master:
        load = counted(master.bind(), 30, path="/README.md", reply="http", per_connection=None, clients=2, send=b"")
        result, _ = run(load)
        assert (result.requests, result.errors) == (30, {})
        assert result.bytes_received > 30 * Path("README.md").stat().st_size
        missing, _ = run(replace(load, path="/", method="BREW", requests=4))
        assert missing.errors == {"status": 4}


def test_nobody_is_there() -> None:
    """That is one line after a moment, and no result."""
    url = nobody()
    with pytest.raises(CommandError, match=f"{url}: could not connect: connection refused; is the service running"):
        run(counted(url, 1_000_000, clients=4, processes=2))
    assert generators() == []


def test_a_generator_that_dies() -> None:
    """Ends the load with a word of how, and the others with it."""

    def kill(progress: Progress) -> None:
        os.kill(generators()[0], 9)

    with service(answer_once) as url, pytest.raises(CommandError, match=r"a generator .* died \(killed by signal 9\)"):
        run(counted(url, 10_000_000, clients=2, processes=2), kill)
    assert generators() == []


def test_a_generator_ends_with_its_parent(tmp_path: Path) -> None:
    """Also one that is not yet ready to be told anything: here its script is still being read."""
    news = tmp_path / "news"
    os.mkfifo(news)
    (tmp_path / "slow.py").write_text(
        f"import os, signal\nwith open({str(news)!r}, 'w') as news:\n    news.write(str(os.getpid()))\nsignal.pause()\n"
    )
    command = [sys.executable, "-m", "prefork", "load", "tcp://127.0.0.1:9", "--script", "slow:talk"]
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}) as parent:
        pid = int(news.read_text())
        generator = os.pidfd_open(pid)
        try:
            assert pid != parent.pid
            parent.kill()
            assert select.select([generator], [], [], LIMIT)[0]
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(generator, signal.SIGKILL)
            os.close(generator)


def test_a_load_may_be_ended_early() -> None:
    """With what was measured until then."""
    seen: list[Progress] = []
    with service(answer_once) as url:
        load = counted(url, 10_000_000, clients=2)
        result, samples = run(load, seen.append, lambda: bool(seen) and seen[-1].requests > 0)
    assert result.requests == len(samples.latencies) > 0
    assert 0 < result.seconds < LONG
    assert seen[-1].rate > 0
    assert generators() == []


WRONG = {
    "--rate: 0 ": {"rate": 0.0},
    "--clients: 0 ": {"clients": 0},
    "--rate: 10000000.0 is too many; 1000000 ": {"rate": 1e7},
    "--clients: 100000000 is too many; 10000 ": {"clients": 100_000_000},
    "--per-connection: 0 ": {"per_connection": 0},
    "--processes: 2 share 1 requests": {"processes": 2, "clients": 2},
    "--processes: 3 share 2 clients": {"requests": 3, "processes": 3, "clients": 2},
    "--reply: eof ends the connection": {"per_connection": None},
    "--reply: datagram is nothing for tcp": {"reply": "datagram"},
    "--reply: 'never'": {"reply": "never"},
    "--http: 'index' is no path": {"path": "index", "reply": "http"},
    "--script: 'x' is not": {"script": "x"},
    "--script: '.*' holds bytes": {"script": "m:\udcff"},
    "--method: 'GÉT€' is no method": {"path": "/", "reply": "http", "method": "GÉT€"},
    "--method: 'GET /b X' is no method": {"path": "/", "reply": "http", "method": "GET /b X"},
    "--server-name: 'a..b' is no name": {"server_name": "a..b"},
    "--header: belongs to HTTP": {"headers": (("A", "b"),)},
    "wants the port": {"url": "tcp://127.0.0.1:0"},
    "begin with one of tcp": {"url": "ftp://127.0.0.1:1"},
    "cannot be reached from outside": {"url": "fd:3"},
}


@pytest.mark.parametrize("complaint", WRONG)
def test_a_wrong_load_is_refused(complaint: str) -> None:
    """In one line, naming the flag."""
    load = replace(counted("tcp://127.0.0.1:9", 1, reply="eof"), **WRONG[complaint])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=complaint):
        run(load)


def test_a_host_without_address() -> None:
    """Is not a mistake of the command, so it says so otherwise."""
    for host in ("nowhere.invalid", "a..b"):
        with pytest.raises(PreforkError, match="has no address"):
            run(counted(f"tcp://{host}:80", 1))


def test_the_histogram_is_of_the_samples() -> None:
    """In its own buckets, as if each had been recorded by itself."""
    from hdrh.histogram import HdrHistogram

    seconds = np.random.default_rng(1).lognormal(-7, 2, 5000)
    ours = histogram_of(seconds)
    theirs = HdrHistogram(1, 3_600_000_000_000, 3)
    for value in seconds:
        theirs.record_value(max(1, round(value * 1e9)))
    assert ours.get_total_count() == 5000
    for percentile in (0, 10, 50, 90, 99, 99.9, 100):
        assert ours.get_value_at_percentile(percentile) == theirs.get_value_at_percentile(percentile)
    decoded = HdrHistogram.decode(ours.encode())
    assert decoded.get_value_at_percentile(99) == theirs.get_value_at_percentile(99)


def test_percentiles_are_samples() -> None:
    """By nearest rank: none is made up between two of them."""
    latencies = latencies_of(np.arange(1, 1001) / 1000)
    assert latencies is not None
    assert (latencies.p50, latencies.p90, latencies.p99, latencies.p999) == (0.5, 0.9, 0.99, 0.999)
    assert latencies.maximum == 1.0
    assert latencies.mean == pytest.approx(0.5005)
    assert latencies_of(np.empty(0)) is None
