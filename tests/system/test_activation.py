"""What the service manager passes at a start; one promise a test."""

import os
import socket
from collections.abc import Iterator

import pytest

from prefork.system import activation
from prefork.system.activation import Passed, take_passed
from tests.children import Child, Link, descriptors


def environment(count: int, names: str, pid: int | None = None) -> dict[str, str]:
    pid = os.getpid() if pid is None else pid
    return {"LISTEN_PID": str(pid), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": names, "HOME": "/"}


@pytest.fixture
def two() -> Iterator[list[int]]:
    with socket.socket() as one, socket.socket() as other:
        yield [one.fileno(), other.fileno()]


def take_three(parent: Link) -> None:
    """In a child: what it was born with from number 3 on gives way."""
    listeners = [socket.socket() for _ in range(3)]
    for number, listener in enumerate(listeners, activation.FIRST + 40):
        os.dup2(listener.fileno(), number)
    activation.FIRST += 40
    environ = environment(3, "web:shop.socket:web")
    passed = take_passed(environ)
    parent.say((sorted(environ), passed.names))
    parent.say([passed.take("web"), passed.take("web", 2), passed.take("web", 3), passed.take("shop.socket")])
    parent.say([os.get_inheritable(number) for number in range(43, 46)])


def test_descriptors_are_found_by_their_names() -> None:
    """Several of one name in their order; the variables are gone, and no program gets them unasked."""
    with Child(take_three) as child:
        assert child.hear() == (["HOME"], ["web", "shop.socket"])
        assert child.hear() == [43, 45, None, 44]
        assert child.hear() == [False, False, False]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        environment(2, "a:b", pid=1),
        environment(2, "a:b") | {"LISTEN_FDS": "many"},
        environment(0, ""),
    ],
    ids=["nothing", "meant for another", "no number", "none"],
)
def test_what_is_not_for_us_is_left_alone(environ: dict[str, str]) -> None:
    """And whoever we start does not take it for its own either."""
    assert take_passed(environ).names == []
    assert not [name for name in environ if name.startswith("LISTEN_")]


def test_who_takes_one_is_the_only_one(two: list[int]) -> None:
    """By its name, or by its number."""
    passed = Passed({"web": two})
    assert passed.take("web") == two[0]
    assert passed.take("web") is None
    assert passed.take_number(two[1])
    assert not any(passed.take_number(fd) for fd in two)
    assert passed.names == []


def test_what_nobody_takes_is_closed(two: list[int]) -> None:
    """And nothing else."""
    before = descriptors()
    copies = [os.dup(fd) for fd in two]
    passed = Passed({"web": copies})
    taken = passed.take("web")
    assert taken == copies[0]
    passed.close()
    os.close(taken)
    assert not descriptors() - before
