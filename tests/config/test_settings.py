"""Settings are checked where they are born; one promise a test."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.config.settings import MOST_WORKERS, Instance, Service, convert
from prefork.config.units import Seconds, parse_seconds
from prefork.errors import UsageError
from tests.children import descriptors

PLACE = "prefork.toml: [service.echo]"
GOOD: dict[str, Any] = {"target": "app:Echo", "bind": ["tcp://127.0.0.1:0"]}

# field, wrong value, a piece of what would be right
WRONG_SERVICE: list[tuple[str, object, str]] = [
    ("target", "app", "MODULE:NAME"),
    ("target", "app:", "MODULE:NAME"),
    ("target", ":Echo", "MODULE:NAME"),
    ("target", "my app:Echo", "MODULE:NAME"),
    ("target", "app:Echo()", "MODULE:NAME"),
    ("target", 3, "text"),
    ("bind", [], "at least one"),
    ("bind", "tcp://127.0.0.1:9000", "list"),
    ("bind", [9000], "text"),
    ("bind", ["9000"], "begin with"),
    ("bind", ["unix:///run/x.sock", "unix:/run/x.sock"], "an address of its own"),
    ("bind", ["tcp://[::1:9000"], "a host and a port"),
    ("workers", "many", "whole number"),
    ("workers", 1.5, "whole number"),
    ("workers", True, "whole number"),
    ("workers", -1, f"between 0 and {MOST_WORKERS}"),
    ("workers", MOST_WORKERS + 1, f"between 0 and {MOST_WORKERS}"),
    ("balance", "cold", "warm"),
    ("balance", "cold", "even"),
    ("backlog", -1, "0 or more"),
    ("backlog", "deep", "whole number"),
    ("bind", ["none", "unix:/a"], "leave out none"),
    ("bind", ["fd:3", "fd:3"], "given twice"),
    ("handler", "app", "MODULE:NAME"),
    ("worker_start", "connect", "MODULE:NAME"),
    ("worker_stop", "app:", "MODULE:NAME"),
    ("mode", "threads", "sync, thread, fork, prefork, hybrid"),
    ("mode", "select", "not in this version"),
    ("concurrency", "process", "sync, thread, fork"),
    ("concurrency", "select", "not in this version"),
    ("threads", 0, "between 1 and 1000"),
    ("threads", "many", "whole number"),
    ("children", 5000, "between 1 and 1000"),
    ("preload", "perhaps", "true or false"),
    ("preload", 3, "true or false"),
    ("graceful_timeout", "soon", "30s"),
    ("graceful_timeout", -1, "30s"),
    ("graceful_timeout", "-1s", "30s"),
    ("graceful_timeout", "9" * 400, "30s"),
    ("quick_timeout", [1], "30s"),
    ("boot_timeout", "1 week", "30s"),
    ("timeout", "soon", "30s"),
    ("on_timeout", "kill", "retire"),
    ("request_slow", "later", "30s"),
    ("request_hard", "never", "30s"),
    ("idle_timeout", "bored", "30s"),
    ("keepalive", "yes", "30s"),
    ("max_requests", -5, "0 or more"),
    ("max_requests_jitter", -5, "0 or more"),
    ("chdir", 3, "text"),
    ("pythonpath", "lib", "list"),
    ("pythonpath", [3], "text"),
]
WRONG_INSTANCE: list[tuple[str, object, str]] = [
    ("name", "my shop", "letters, digits"),
    ("name", "a/b", "letters, digits"),
    ("name", "x" * 200, "shorter"),
    ("name", 3, "text"),
    ("log_file", 3, "text"),
    ("log_level", "loud", "warning"),
]


def shown(value: object) -> str:
    """What a line must hold of a value, whose words TOML writes in small letters; of a list its last member will do."""
    return str(value[-1] if isinstance(value, list) and value else value).lower()


def refusal(raw: dict[str, Any], kind: type[Any], place: str) -> str:
    with pytest.raises(UsageError) as raised:
        convert(raw, kind, place)
    line = str(raised.value)
    assert len(line.splitlines()) == 1
    assert "`" not in line
    return line


@pytest.mark.parametrize(("field", "value", "remedy"), WRONG_SERVICE)
def test_a_wrong_value_is_one_line_with_place_field_value_and_remedy(field: str, value: object, remedy: str) -> None:
    """Whoever wrote it sees where, what, and how it would be right, and nothing has been opened."""
    before = descriptors()

    line = refusal({**GOOD, field: value}, Service, PLACE)

    assert line.startswith(f"{PLACE}: {field}")
    assert value == [] or shown(value) in line.lower()
    assert remedy in line
    assert descriptors() == before


@pytest.mark.parametrize(("field", "value", "remedy"), WRONG_INSTANCE)
def test_a_wrong_value_of_the_instance_is_told_as_well(field: str, value: object, remedy: str) -> None:
    """The settings outside of every service have the same kind of error."""
    line = refusal({"service": {"echo": GOOD}, field: value}, Instance, "prefork.toml")

    assert line.startswith(f"prefork.toml: {field}")
    assert str(value) in line
    assert remedy in line


@pytest.mark.parametrize("missing", ["target", "bind"])
def test_a_missing_setting_is_named_with_an_example(missing: str) -> None:
    """What has no default must be given."""
    line = refusal({key: value for key, value in GOOD.items() if key != missing}, Service, PLACE)

    assert line.startswith(f"{PLACE}: {missing}")
    assert {"target": "myapp.handlers:Echo", "bind": "tcp://127.0.0.1:9000"}[missing] in line


@pytest.mark.parametrize(
    ("typo", "meant"), [("wrokers", "workers"), ("max_request", "max_requests"), ("binds", "bind")]
)
def test_an_unknown_setting_is_an_error_with_a_suggestion(typo: str, meant: str) -> None:
    """A slip of the hand is not ignored."""
    line = refusal({**GOOD, typo: 3}, Service, PLACE)

    assert line.startswith(f"{PLACE}: there is no setting")
    assert typo in line
    assert line.endswith(f"perhaps {meant}")


def test_the_hard_limit_follows_the_soft_one() -> None:
    """Five seconds later, unless it is set, or set to never; what is sooner is refused."""
    assert convert(GOOD, Service, PLACE).request_hard is None
    assert convert({**GOOD, "timeout": "10s"}, Service, PLACE).request_hard == 15
    assert convert({**GOOD, "timeout": "10s", "request_hard": 0}, Service, PLACE).request_hard == 0
    line = refusal({**GOOD, "request_slow": "10s", "request_hard": "10s"}, Service, PLACE)
    assert "request_slow: 10 s is not less than request_hard, which is 10 s; make it shorter" in line
    line = refusal({**GOOD, "timeout": "10s", "request_hard": "9s"}, Service, PLACE)
    assert line == f"{PLACE}: request_hard: 9 s is less than timeout, which is 10 s; make it longer, or leave it out"


def test_a_service_is_named_like_an_instance() -> None:
    """A name goes into titles, logs and paths."""
    assert "'a/b'" in refusal({"service": {"a/b": GOOD}}, Instance, "prefork.toml")
    assert "letters, digits" in refusal({"service": {"": GOOD}}, Instance, "prefork.toml")


def test_an_instance_without_a_service_is_refused() -> None:
    """There is nothing to run, and the error says how to add it."""
    assert "[service.NAME]" in refusal({"service": {}}, Instance, "prefork.toml")


def test_two_services_cannot_have_the_same_address() -> None:
    """It is found before the kernel would say so."""
    same = {"target": "app:Echo", "bind": ["udp://127.0.0.1:9000"]}
    assert "udp://127.0.0.1:9000 is given twice" in refusal({"service": {"a": same, "b": same}}, Instance, "here")


def test_port_0_is_a_port_of_its_own_each_time() -> None:
    """The kernel chooses another."""
    twice = {**GOOD, "bind": ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"]}
    assert len(convert(twice, Service, PLACE).addresses) == 2


def test_numbers_may_come_as_text() -> None:
    """As the command line brings them."""
    service = convert({**GOOD, "workers": "8", "request_hard": "90", "preload": "false"}, Service, PLACE)
    assert (service.workers, service.request_hard, service.preload) == (8, 90.0, False)


def test_a_record_cannot_be_changed() -> None:
    """What was checked stays what it is."""
    service = convert(GOOD, Service, PLACE)
    with pytest.raises(AttributeError):
        service.workers = 5


# Durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30.0), ("250ms", 0.25), ("1.5", 1.5), (2, 2.0), (0.5, 0.5), ("2m", 120.0), ("1h", 3600.0), (" 3 s ", 3.0)],
)
def test_a_duration_is_read_in_its_unit(text: object, seconds: float) -> None:
    """A bare number is seconds."""
    assert parse_seconds(text) == Seconds(seconds)


@given(st.one_of(st.text(), st.floats(), st.integers(), st.booleans(), st.none(), st.from_regex(r"\d+(ms|s|m|h)?")))
def test_whatever_is_read_as_a_duration_is_finite_and_not_negative(value: object) -> None:
    """Everything else is refused in one line that names it."""
    try:
        seconds = parse_seconds(value)
    except ValueError as error:
        refused = str(error)
    else:
        assert math.isfinite(seconds)
        assert seconds >= 0
        return
    assert repr(value) in refused
    assert len(refused.splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "workers", "concurrency"),
    [
        ({}, 4, None),
        ({"mode": "sync"}, 1, "sync"),
        ({"mode": "thread"}, 1, "thread"),
        ({"mode": "fork"}, 1, "fork"),
        ({"mode": "prefork"}, 4, "sync"),
        ({"mode": "prefork", "workers": 8}, 8, "sync"),
        ({"mode": "hybrid", "threads": 16}, 4, "thread"),
        ({"mode": "sync", "workers": 1, "concurrency": "sync"}, 1, "sync"),
        ({"threads": 16}, 4, "thread"),
        ({"concurrency": "fork", "workers": 2}, 2, "fork"),
    ],
)
def test_a_mode_is_a_pair_of_workers_and_concurrency(
    given: dict[str, Any], workers: int, concurrency: str | None
) -> None:
    """The usual pairs have names; what neither name nor setting says is left to the target's class."""
    service = convert({**GOOD, **given}, Service, PLACE)

    assert (service.count, service.concurrency) == (workers, concurrency)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mode": "sync", "workers": 4}, ["mode", "workers = 1", "workers is 4", "leave one of them out"]),
        ({"mode": "hybrid", "concurrency": "fork"}, ["mode", "concurrency = thread", "concurrency is fork"]),
    ],
)
def test_a_mode_that_is_contradicted_is_refused(given: dict[str, Any], words: list[str]) -> None:
    """One of two settings would be silently ignored; neither is."""
    line = refusal({**GOOD, **given}, Service, PLACE)

    assert all(word in line for word in words)


def test_work_without_a_network_needs_no_address() -> None:
    """``none`` says that nobody forgot the bind."""
    assert convert({**GOOD, "bind": ["none"]}, Service, PLACE).addresses == ()
