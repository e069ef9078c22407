"""Records reach syslog and journald, and a collector that does not read holds nobody up; one promise a test."""

import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefork.system.logline import Who
from prefork.system.logsockets import FACILITIES, Journal, Syslog, priority

WORKER = Who("worker", "shop", "echo", 2, 3)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "socket")


@pytest.fixture
def collector(address: str) -> Iterator[socket.socket]:
    with open_collector(address) as collector:
        yield collector


def open_collector(address: str) -> socket.socket:
    collector = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    collector.bind(address)
    collector.settimeout(30)
    return collector


def tell(log: logging.Handler, text: str, level: int = logging.INFO, **extra: object) -> None:
    log.handle(logging.getLogger("app").makeRecord("app", level, "", 0, text, (), None, extra=extra))


def read_fields(datagram: bytes) -> dict[str, bytes]:
    """A datagram of journald's protocol, as journald reads it."""
    fields, rest = {}, datagram
    while rest:
        head, _, rest = rest.partition(b"\n")
        name, is_text, value = head.partition(b"=")
        if not is_text:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[9 + size :]
        fields[name.decode()] = value
    return fields


def test_journald_gets_what_is_known_as_fields(address: str, collector: socket.socket) -> None:
    """The text, its severity, who writes, and what the record was given."""
    log = Journal(path=address)
    log.sign(WORKER)
    tell(log, "two\nlines", logging.WARNING, event="stacks", request=7)
    assert read_fields(collector.recv(1 << 16)) == {
        "MESSAGE": b"echo worker 2 g3: two\nlines",
        "PRIORITY": b"4",
        "SYSLOG_IDENTIFIER": b"shop",
        "LOGGER": b"app",
        "PREFORK_INSTANCE": b"shop",
        "PREFORK_SERVICE": b"echo",
        "PREFORK_PROCESS": b"worker",
        "PREFORK_SLOT": b"2",
        "PREFORK_GENERATION": b"3",
        "PREFORK_EVENT": b"stacks",
        "PREFORK_REQUEST": b"7",
    }


def test_what_the_application_adds_never_says_who_writes(address: str, collector: socket.socket) -> None:
    """Also in capitals, for journald's names have nothing else; the master's own extras keep their names."""
    log = Journal(path=address)
    log.sign(WORKER)
    tell(log, "text", service="billing", SLOT=9)
    fields = read_fields(collector.recv(1 << 16))
    assert (fields["PREFORK_SERVICE"], fields["PREFORK_SERVICE_EXTRA"]) == (b"echo", b"billing")
    assert (fields["PREFORK_SLOT"], fields["PREFORK_SLOT_EXTRA"]) == (b"2", b"9")
    log.sign(Who("master", "shop"))
    tell(log, "text", service="echo", slot=2)
    fields = read_fields(collector.recv(1 << 16))
    assert (fields["PREFORK_SERVICE"], fields["PREFORK_SLOT"]) == (b"echo", b"2")


def test_what_is_too_long_for_a_datagram_goes_in_a_sealed_file(address: str, collector: socket.socket) -> None:
    """Its descriptor is all that is sent; nobody can change what it holds."""
    log = Journal(path=address)
    log.sign(WORKER)
    tell(log, "x" * 1_000_000)
    data, fds, _, _ = socket.recv_fds(collector, 99, 1)
    with open(fds[0], "rb") as file:
        assert not data
        file.seek(0)
        assert read_fields(file.read())["MESSAGE"].endswith(b" " + b"x" * 1_000_000)
        with pytest.raises(OSError, match="not permitted"):
            os.ftruncate(os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDWR), 0)


def test_a_collector_that_does_not_read_holds_nobody_up(address: str, collector: socket.socket) -> None:
    """What it does not take is dropped, and the count told with the first record that is taken again."""
    log = Journal(path=address)
    log.sign(WORKER)
    for number in range(5000):  # far beyond what a socket holds
        tell(log, str(number))
    collector.setblocking(False)
    taken = 0
    try:
        while collector.recv(1 << 16):
            taken += 1
    except BlockingIOError:
        pass
    tell(log, "again")
    lost, again = (read_fields(collector.recv(1 << 16)) for _ in range(2))
    assert 0 < taken < 5000
    assert lost["PREFORK_LOST"] == str(5000 - taken).encode()
    assert again["MESSAGE"].endswith(b" again")


def test_a_collector_that_was_started_anew_is_found(address: str) -> None:
    """By its address; meanwhile records are counted."""
    with open_collector(address):
        log = Journal(path=address)
        log.sign(WORKER)
    tell(log, "to nobody")
    os.unlink(address)
    tell(log, "to nobody either")
    with open_collector(address) as next_one:
        tell(log, "here")
        assert read_fields(next_one.recv(1 << 16))["PREFORK_LOST"] == b"2"
        assert read_fields(next_one.recv(1 << 16))["MESSAGE"].endswith(b" here")


def test_a_collector_that_is_not_there_yet_is_found_when_it_is(address: str) -> None:
    """It is an error only to who asks for it; records are counted until it is there. The socket stays the same."""
    log = Journal(path=address)
    log.sign(WORKER)
    with pytest.raises(FileNotFoundError):
        log.reach()
    tell(log, "to nobody")
    before = [os.fstat(fd).st_ino for fd in log.sockets]
    with open_collector(address) as collector:
        tell(log, "here")
        assert read_fields(collector.recv(1 << 16))["PREFORK_LOST"] == b"1"
        assert read_fields(collector.recv(1 << 16))["MESSAGE"].endswith(b" here")
    os.unlink(address)
    with open_collector(address) as next_one:
        tell(log, "there")
        assert read_fields(next_one.recv(1 << 16))["MESSAGE"].endswith(b" there")
    assert [os.fstat(fd).st_ino for fd in log.sockets] == before


def test_syslog_gets_a_line_with_facility_and_severity(address: str, collector: socket.socket) -> None:
    """As by syslog(3): priority, local time, the instance with its pid, and who in it."""
    log = Syslog(f"unix:{address}", "local3")
    log.sign(WORKER)
    tell(log, "text", logging.ERROR)
    line = collector.recv(1 << 16).decode()
    number = FACILITIES.index("local3") * 8 + 3
    assert number == 19 * 8 + 3
    moment = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
    assert re.fullmatch(rf"<{number}>{moment} shop\[{os.getpid()}\]: echo worker 2 g3: text", line)


def test_syslog_elsewhere_is_told_the_host() -> None:
    """Over UDP, where it cannot know it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(30)
        log = Syslog(f"udp://127.0.0.1:{collector.getsockname()[1]}", "user", "json")
        log.sign(Who("master", "shop"))
        tell(log, "text")
        line = collector.recv(1 << 16).decode()
    assert re.match(rf"<14>.{{15}} {re.escape(socket.gethostname())} shop\[\d+\]: {{", line)


def test_syslog_gets_as_much_as_goes_into_a_datagram() -> None:
    """Stacks of many threads are long; what is cut says so, and nothing is lost for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(30)
        log = Syslog(f"udp://127.0.0.1:{collector.getsockname()[1]}", "user")
        tell(log, "x" * 100_000)
        tell(log, "short")
        long = collector.recv(1 << 17).decode()
        assert 40_000 < len(long) < 65_536
        assert long.endswith("x …")
        assert collector.recv(1 << 17).decode().endswith("short")


def test_levels_have_severities() -> None:
    """Those of syslog(3)."""
    levels = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
    assert [priority(level) for level in levels] == [2, 3, 4, 6, 7]
