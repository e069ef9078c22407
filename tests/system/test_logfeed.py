"""A descriptor that hangs in a socket pair is everybody's who may look at it; one promise a test."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from prefork.system import logfeed
from prefork.system.logfeed import Feed
from prefork.system.logfile import FedLogFile, LogFile
from tests.children import Child, Link, become_nobody, descriptors, said_by


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prefork.log"


@pytest.fixture
def log(path: Path) -> Iterator[LogFile]:
    log = LogFile(str(path))
    yield log
    os.close(log.fileno())


@pytest.fixture
def feed(log: LogFile) -> Iterator[Feed]:
    with closing(Feed(log.fileno())) as feed:
        yield feed


def write_once(feed: Feed, text: bytes) -> None:
    fd = logfeed.take(feed.fileno())
    os.write(fd, text)
    os.close(fd)


def test_whoever_may_not_open_the_file_may_take_it(path: Path, feed: Feed) -> None:
    """As often as asked for, also as another user, who could never open that path."""

    def write_as_nobody(parent: Link) -> None:
        become_nobody()
        write_once(feed, b"one\n")
        write_once(feed, b"two\n")

    path.chmod(0o600)
    said_by(write_as_nobody)
    write_once(feed, b"three\n")
    assert path.read_text() == "one\ntwo\nthree\n"


def test_after_a_replacement_the_new_file_is_taken(path: Path, log: LogFile, feed: Feed) -> None:
    """And never nothing: the queue is not empty in between."""
    moved = path.rename(path.with_suffix(".1"))
    log.reopen()
    write_once(feed, b"before\n")
    feed.replace(log.fileno())
    write_once(feed, b"after\n")
    assert (moved.read_text(), path.read_text()) == ("before\n", "after\n")


def test_a_log_file_that_is_fed_follows(path: Path, log: LogFile, feed: Feed) -> None:
    """Under the same number, as one that opens its path."""
    fed = FedLogFile(str(path), feed.fileno())
    fd = fed.fileno()
    moved = path.rename(path.with_suffix(".1"))
    log.reopen()
    feed.replace(log.fileno())
    fed.reopen()
    os.write(fd, b"after\n")
    assert (fed.fileno(), moved.read_text(), path.read_text()) == (fd, "", "after\n")
    os.close(fd)


def test_nothing_is_left_open(log: LogFile, feed: Feed) -> None:
    """However often it is replaced and taken; and no program inherits what was taken."""
    before = descriptors()
    for _ in range(3):
        feed.replace(log.fileno())
        fd = logfeed.take(feed.fileno())
        assert not os.get_inheritable(fd)
        os.close(fd)
    assert not descriptors() - before


def test_who_takes_it_away_keeps_nobody_from_the_next(path: Path, log: LogFile, feed: Feed) -> None:
    """What a holder of the end should not do costs the others one file at most."""

    def take_away(parent: Link) -> None:
        os.read(feed.fileno(), 99)

    with Child(take_away) as child:
        child.hear()
    with pytest.raises(BlockingIOError):
        logfeed.take(feed.fileno())
    feed.replace(log.fileno())
    write_once(feed, b"back\n")
    assert path.read_text() == "back\n"


def test_a_process_without_room_is_told(feed: Feed) -> None:
    """As by any other call that would open something."""

    def take_without_room(parent: Link) -> int:
        highest = max(int(number) for number in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, highest + 2))
        try:
            while True:
                logfeed.take(feed.fileno())
        except OSError as error:
            return error.errno or 0

    assert said_by(take_without_room) == errno.EMFILE
