"""The built-in workloads: their names, and that the handlers do what is asked of them."""

import time

import pytest
from msgspec.structs import replace

from prefork.errors import UsageError
from prefork.lab import generators
from prefork.lab.handlers import burn
from prefork.lab.subjects import Subject
from prefork.lab.workloads import EACH, NAMES, mixed, slowly, workload
from tests.end_to_end.clients import ask


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_it_teaches(name: str) -> None:
    """In whole sentences."""
    found = workload(name)
    assert found.title.startswith(name)
    assert found.teaches.endswith(".")
    assert "\n" not in found.teaches


@pytest.mark.parametrize(
    ("text", "send"),
    [
        ("echo", b"echo\n"),
        ("cpu", b"cpu 0.002\n"),
        ("cpu=500ms", b"cpu 0.5\n"),
        ("wait=20ms", b"wait 0.02\n"),
    ],
)
def test_its_parameter_is_in_its_requests(text: str, send: bytes) -> None:
    """As a duration with a unit."""
    load = workload(text).load
    assert (load.send, load.expect, load.pace) == (send, send, None)


def test_a_slow_client_has_its_place_before_it_is_slow() -> None:
    """Its first line is one byte, and so sent at once; its second takes as long as was asked for."""
    found = workload("slow-client=4s")
    assert found.load.pace == 0.25
    dialogue = slowly(1)
    assert next(dialogue) == b"\n"
    assert dialogue.send(b"\n") == b".\n"
    with pytest.raises(StopIteration):
        dialogue.send(b".\n")


def test_slow_clients_hold_the_places_they_have() -> None:
    """A worker serves one dialogue at a time, so four of 0.1 s one after the other."""
    target, load = workload("slow-client=100ms").fit("tcp://127.0.0.1:0")
    with Subject.start("prefork", target, 1) as subject:
        four = replace(load, url=subject.url, clients=4, requests=4, warm_up=0.0)
        result, samples = generators.run(four)
    assert (result.requests, result.errors) == (4, {})
    assert max(samples.latencies) >= 0.4


@pytest.mark.parametrize("text", ["eco", "cpu=soon", "cpu=", "cpu=0", "slow-client=50ms", "echo=1s", "mixed=3"])
def test_what_is_no_workload_is_one_line(text: str) -> None:
    """With what there is."""
    with pytest.raises(UsageError, match="workload"):
        workload(text)


def test_a_datagram_is_sent_at_once() -> None:
    """Other workloads have a handler for datagrams."""
    with pytest.raises(UsageError, match="a datagram is not sent slowly"):
        workload("slow-client").fit("udp://127.0.0.1:0")
    target, load = workload("cpu").fit("udp://127.0.0.1:0")
    assert (target, load.reply) == ("prefork.lab.handlers:Datagram", "datagram")


def test_one_request_in_ten_is_long() -> None:
    """Told by its number, so that every line is sent the same."""
    lines = [next(mixed(number)) for number in range(5 * EACH)]
    assert lines.count(b"wait 0.05\n") == 5
    assert lines[0] == lines[EACH] != lines[1]
    dialogue = mixed(1)
    next(dialogue)
    with pytest.raises(AssertionError, match="was answered by"):
        dialogue.send(b"something else\n")


def test_burning_is_measured_in_cpu_time() -> None:
    """Not in time that passes while others have the CPU."""
    before = time.thread_time()
    burn(0.05)
    assert time.thread_time() - before == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize("bind", ["unix:", "udp://127.0.0.1:0"])
def test_a_handler_does_what_it_is_asked(bind: str) -> None:
    """And says it again."""
    target, _ = workload("wait").fit(bind)
    with Subject.start("bare", target, 1, bind=bind) as subject:
        begun = time.monotonic()
        assert ask(subject.url, "wait 0.02") == "wait 0.02"
        assert time.monotonic() - begun > 0.02
        assert ask(subject.url, "cpu 0.002") == "cpu 0.002"
        assert ask(subject.url, "hello") == "hello"
