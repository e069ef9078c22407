"""Settings are checked where they are born; one promise a test."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.config.instance import Instance
from prefork.config.service import MOST_WORKERS, Service
from prefork.config.settings import convert
from prefork.config.units import Seconds, parse_bytes, parse_seconds
from prefork.errors import UsageError
from prefork.system import cpus
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
    ("workers", "4.5", "auto"),
    ("max_workers", 0, f"between 1 and {MOST_WORKERS}"),
    ("max_workers", MOST_WORKERS + 1, f"between 1 and {MOST_WORKERS}"),
    ("max_workers", "auto", "whole number"),
    ("min_workers", -1, f"between 0 and {MOST_WORKERS}"),
    ("min_spare", -1, f"between 0 and {MOST_WORKERS}"),
    ("max_spare", "few", "whole number"),
    ("worker_idle_timeout", "soon", "30s"),
    ("memory_budget", "much", "256MiB"),
    ("memory_budget", 0, "between 1 and"),
    ("memory_budget", -5, "256MiB"),
    ("memory_budget", "1PiB", "256MiB"),
    ("balance", "cold", "warm"),
    ("balance", "cold", "even"),
    ("backlog", -1, "0 or more"),
    ("backlog", "deep", "whole number"),
    ("bind", ["none", "unix:/a"], "leave out none"),
    ("bind", ["fd:3", "fd:3"], "given twice"),
    ("handler", "app", "MODULE:NAME"),
    ("worker_start", "connect", "MODULE:NAME"),
    ("health", "is_well", "MODULE:NAME"),
    ("max_failures", -1, "0 or more"),
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
    ("graceful_timeout", "876601h", "longer than a hundred years"),
    ("quick_timeout", [1], "30s"),
    ("boot_timeout", "1 week", "30s"),
    ("probation", "soon", "30s"),
    ("timeout", "soon", "30s"),
    ("on_timeout", "kill", "retire"),
    ("request_slow", "later", "30s"),
    ("request_hard", "never", "30s"),
    ("idle_timeout", "bored", "30s"),
    ("keepalive", "yes", "30s"),
    ("max_requests", -5, "0 or more"),
    ("max_requests_jitter", -5, "0 or more"),
    ("refork_after", -5, "0 or more"),
    ("emergency_crashes", 101, "between 0 and 100"),
    ("emergency_window", "soon", "30s"),
    ("max_age", "old", "30s"),
    ("max_age_jitter", -1, "30s"),
    ("memory_soft", "much", "256MiB"),
    ("memory_hard", -5, "256MiB"),
    ("memory_measure", "rss", "uss, pss"),
    ("max_surge", 0, "between 1 and 1000"),
    ("max_surge", "half", "whole number"),
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
    ("log_format", "xml", "console, json"),
    ("log_to", "the moon", "stderr, syslog, journald"),
    ("log_syslog_to", "tcp://10.0.0.7:514", "log_to = syslog"),
    ("log_syslog_facility", "local9", "log_to = syslog"),
    ("access_log", "yes", "./access.log"),
    ("capture_output", "perhaps", "true or false"),
    ("pid", 3, "text"),
    ("control", "yes", "/run/shop/control.sock"),
    ("control", "/" + "x" * 107, "at most 107 bytes"),
    ("control", 3, "text"),
    ("admin", "9190", "begin with"),
    ("admin", "tcp://127.0.0.1", "a host and a port"),
    ("admin", "udp://127.0.0.1:9190", "tcp://127.0.0.1:9190"),
    ("admin", "fd:3", "no address for HTTP"),
    ("admin", ["tcp://127.0.0.1:9190"], "text"),
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
    assert not descriptors() - before


def test_an_address_of_the_admin_process_is_nobody_elses() -> None:
    """Nor is it a service's; a port that the kernel chooses is."""
    service = {"echo": {**GOOD, "bind": ["tcp://127.0.0.1:9190"]}}
    line = refusal({"service": service, "admin": "tcp://127.0.0.1:9190"}, Instance, "here")
    assert line == "here: admin: tcp://127.0.0.1:9190 is a bind of the service echo too; give one of them another"
    settings = convert({"service": {"echo": GOOD}, "admin": "tcp://127.0.0.1:0"}, Instance, "here")
    assert str(settings.admin_address) == "tcp://127.0.0.1:0"
    assert convert({"service": {"echo": GOOD}}, Instance, "here").admin_address is None


CONTRADICTIONS: list[tuple[dict[str, object], str, str]] = [
    (
        {"workers": 4, "max_workers": 8},
        "max_workers",
        "8 sizes a pool, and the pool is fixed: workers is 4",
    ),
    ({"workers": "auto", "min_spare": 2}, "min_spare", "leave one of them out"),
    ({"mode": "thread", "max_workers": 8}, "max_workers", "mode = thread is 1"),
    ({"min_workers": 2}, "min_workers", "give max_workers as well"),
    ({"min_spare": 2}, "min_spare", "give max_workers as well"),
    ({"memory_budget": "1GiB"}, "memory_budget", "1GiB sizes a pool without a bound"),
    ({"min_workers": 9, "max_workers": 8}, "min_workers", "9 is more than max_workers = 8; lower"),
    ({"min_spare": 9, "max_workers": 8}, "min_spare", "9 is more than max_workers = 8; lower"),
    ({"min_spare": 4, "max_spare": 3, "max_workers": 8}, "min_spare", "4 is more than max_spare = 3; lower"),
    (
        {"min_workers": 0, "max_workers": 8, "min_spare": 1},
        "min_spare",
        "1 keeps workers that min_workers = 0 gives up",
    ),
    (
        {"min_workers": 0, "max_workers": 8, "max_spare": 1},
        "max_spare",
        "1 keeps workers that min_workers = 0 gives up",
    ),
    ({"min_workers": 0, "max_workers": 8, "bind": ["none"]}, "min_workers", "give at least 1"),
]


@pytest.mark.parametrize(("given", "field", "remedy"), CONTRADICTIONS)
def test_settings_of_sizing_that_contradict_each_other_are_refused(
    given: dict[str, object], field: str, remedy: str
) -> None:
    """One line names one of them, what it contradicts, and the way out."""
    line = refusal({**GOOD, **given}, Service, PLACE)

    assert line.startswith(f"{PLACE}: {field}: ")
    assert remedy in line


def test_a_sized_pool_needs_only_a_bound() -> None:
    """All else has a default; on demand none is kept spare."""
    sized = convert({**GOOD, "max_workers": "20"}, Service, PLACE)
    assert (sized.bounds, sized.count, sized.spares, sized.worker_idle_timeout) == ((1, 20), 1, (1, 3), 10.0)
    on_demand = convert({**GOOD, "max_workers": 20, "min_workers": 0}, Service, PLACE)
    assert (on_demand.bounds, on_demand.count, on_demand.spares) == ((0, 20), 0, (0, 0))
    spared = convert({**GOOD, "max_workers": 20, "min_workers": 2, "min_spare": 5}, Service, PLACE)
    assert (spared.bounds, spared.count, spared.spares) == ((2, 20), 5, (5, 7))


def test_a_fixed_pool_has_one_bound() -> None:
    """Also where nothing is said."""
    assert convert(GOOD, Service, PLACE).bounds == (4, 4)
    assert convert({**GOOD, "workers": "7"}, Service, PLACE).bounds == (7, 7)


@pytest.mark.parametrize(
    ("concurrency", "amount", "workers"),
    [(None, 1, 3), ("sync", 4, 9), ("sync", 1.5, 4), ("sync", 0.1, 2), ("thread", 1.5, 2), ("fork", 0.2, 1)],
)
def test_workers_auto_goes_by_the_cpus_we_may_use(
    concurrency: str | None, amount: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sync workers wait often, so there are more of them than CPUs; threads wait for each other."""
    monkeypatch.setattr(cpus, "usable", lambda: cpus.Cpus(amount, "so many CPUs by decree"))
    raw = {**GOOD, "workers": "auto", **({"concurrency": concurrency} if concurrency else {})}

    service = convert(raw, Service, PLACE)

    assert service.bounds == (workers, workers)
    assert service.why_workers.startswith(f"{workers}: so many CPUs by decree, and ")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256MiB", 256 * 2**20),
        ("256 M", 256 * 2**20),
        ("1.5g", 3 * 2**29),
        ("2GB", 2 * 10**9),
        ("4k", 4096),
        ("10b", 10),
        (65536, 65536),
        ("1TiB", 2**40),
    ],
)
def test_sizes_have_units(text: object, size: int) -> None:
    """Powers of 1024, but for those that say kB, MB and GB."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "1iB", "-1", "1 PiB", "many", True, None, "1e9", "9" * 40])
def test_what_is_no_size_is_refused(text: object) -> None:
    """With an example."""
    with pytest.raises(ValueError, match="write it as 256MiB"):
        parse_bytes(text)


@given(st.integers(0, 2**50))
def test_a_size_is_shown_as_it_can_be_read(size: int) -> None:
    """Errors and ``check`` show sizes as people write them."""
    assert parse_bytes(str(parse_bytes(size))) == size


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


def test_a_worker_becomes_a_mold_before_it_is_worn_out() -> None:
    """A refork that could never come is a mistake; without a limit of requests there is none."""
    line = refusal({**GOOD, "refork_after": 1000, "max_requests": 1000}, Service, PLACE)
    assert "refork_after: 1000 is not less than max_requests, which is 1000;" in line
    assert convert({**GOOD, "refork_after": 999, "max_requests": 1000}, Service, PLACE).refork_after == 999
    assert convert({**GOOD, "refork_after": 1000}, Service, PLACE).refork_after == 1000


def test_crashes_are_counted_within_some_time() -> None:
    """A window of nothing would never hold one."""
    line = refusal({**GOOD, "emergency_crashes": 3, "emergency_window": 0}, Service, PLACE)
    assert "emergency_window: 0 is no time in which crashes could be counted; write how long" in line
    settings = convert({**GOOD, "emergency_crashes": 3}, Service, PLACE)
    assert (settings.emergency_crashes, settings.emergency_window) == (3, 60.0)


def test_the_hard_limit_of_memory_is_no_lower_than_the_soft_one() -> None:
    """Nobody would be replaced in peace; each alone is a limit."""
    line = refusal({**GOOD, "memory_soft": "300MiB", "memory_hard": "200MiB"}, Service, PLACE)
    what = "200MiB is less than memory_soft, which is 300MiB; raise it, or leave it out"
    assert line == f"{PLACE}: memory_hard: {what}"
    assert not convert(GOOD, Service, PLACE).weighs
    for alone in ("memory_soft", "memory_hard"):
        assert convert({**GOOD, alone: "300MiB"}, Service, PLACE).weighs


def test_a_silence_is_no_longer_than_a_connection_can_count() -> None:
    """Else it would begin anew, and end everybody's connection at once; without a limit it may last."""
    line = refusal({**GOOD, "idle_timeout": "600h"}, Service, PLACE)
    what = "2160000 s is more than a connection can count, which is 2000000 s"
    assert line == f"{PLACE}: idle_timeout: {what}; make it shorter, or leave it out"
    assert convert({**GOOD, "idle_timeout": "500h"}, Service, PLACE).idle_timeout == 1_800_000


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
