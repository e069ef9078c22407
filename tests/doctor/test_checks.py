"""Each check, by facts made by hand: what bites, what is worth a note, what is fine, and what could not be seen."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from prefork.binds import parse
from prefork.config.sources import from_command_line
from prefork.control.messages import Degraded, LoadStatus, QueueStatus
from prefork.doctor import clock, code, instance, limits, network, places, unit
from prefork.doctor.checks import GROUPS, Check, examine, name_of
from prefork.doctor.commands import set_in_unit
from prefork.doctor.facts import Facts, FilePlace, Place, Running, Unit, Wanted
from prefork.doctor.findings import Finding
from prefork.rehearsal import Outcome
from prefork.system.grouplimits import Group
from prefork.system.procfs import Limit
from prefork.system.usage import Usage
from tests.snapshots import report, service, worker

GIB = 1024**3
TCP = parse("tcp://0.0.0.0:9000")
UDP = parse("udp://0.0.0.0:9000")
UNIX = parse("unix:/run/shop/shop.sock")
ECHO = Wanted("echo", (TCP,))
FILES, PROCESSES, CORE = "Max open files", "Max processes", "Max core file size"


def numbers(**several: Any) -> dict[str, tuple[float, ...]]:
    """By their names, with ``__`` for the point."""
    return {name.replace("__", "."): value if isinstance(value, tuple) else (value,) for name, value in several.items()}


def runs(**changed: Any) -> Running:
    """An instance of two workers that runs."""
    return Running(report(worker(1), worker(2), status=service(**changed)))


def weighed(*weights: int) -> Running:
    usage = {1000 + slot: Usage(weight, weight, 0.0, 0.0) for slot, weight in enumerate(weights, 1)}
    workers = [worker(slot) for slot in range(1, len(weights) + 1)]
    return Running(report(*workers, usage=usage))


def in_unit(**values: str) -> Unit:
    return Unit("/etc/systemd/system/shop.service", values)


CASES: list[tuple[Check, str, str, Facts]] = [
    # limits
    (
        limits.open_files,
        "fine",
        "1024 (hard 4096), 70 needed",
        Facts(limits={FILES: Limit(1024, 4096)}, services=(ECHO,)),
    ),
    (limits.open_files, "bites", "64 (hard 64)", Facts(limits={FILES: Limit(64, 64)}, services=(ECHO,))),
    (limits.open_files, "fine", "unlimited", Facts(limits={FILES: Limit(-1, -1)}, services=(ECHO,))),
    (
        limits.open_files,
        "note",
        "128 (hard 200)",
        Facts(limits={FILES: Limit(128, 200)}, services=(ECHO,), descriptors=266),
    ),
    (
        limits.open_files,
        "bites",
        "64 in a worker",
        Facts(
            limits={FILES: Limit(64, 4096)},
            services=(ECHO._replace(concurrency="thread", at_once=64),),
        ),
    ),
    (
        limits.open_files,
        "fine",
        "64 (hard 4096)",
        Facts(
            limits={FILES: Limit(64, 4096)},
            services=(ECHO._replace(concurrency="thread", at_once=64, files=1000),),
        ),
    ),
    (limits.open_files, "skipped", "the limit of open files could not be read", Facts()),
    (
        limits.files_of_the_machine,
        "bites",
        "95 of 100",
        Facts(numbers=numbers(fs__file_nr=0) | {"fs.file-nr": (95, 0, 100)}),
    ),
    (limits.files_of_the_machine, "fine", "5 of 100", Facts({"fs.file-nr": (5, 0, 100)})),
    (
        limits.processes,
        "bites",
        "90 of 100 of the control group",
        Facts(group=Group(processes=100, tasks=90), services=(ECHO,)),
    ),
    (
        limits.processes,
        "fine",
        "10 of 100 of the control group",
        Facts(group=Group(processes=100, tasks=10), services=(ECHO,)),
    ),
    (
        limits.processes,
        "bites",
        "40 of 50 of user shop",
        Facts(user="shop", limits={PROCESSES: Limit(50, 50)}, threads_of_user=40, services=(ECHO,)),
    ),
    (
        limits.processes,
        "bites",
        "10 of 100 of the control group",
        Facts(group=Group(processes=100, tasks=10), services=(ECHO._replace(concurrency="thread", at_once=64),)),
    ),
    (limits.processes, "fine", "without a limit, 21 needed", Facts(services=(ECHO,))),
    (limits.memory, "fine", "2.0G of the machine", Facts(numbers(MemTotal=2 * GIB), services=(ECHO,))),
    (
        limits.memory,
        "bites",
        "3 processes of the control group were killed",
        Facts(numbers(MemTotal=2 * GIB), group=Group(memory=GIB, killed=3)),
    ),
    (
        limits.memory,
        "bites",
        "2.0G of the machine, memory_budget 4.0G",
        Facts(numbers(MemTotal=2 * GIB), services=(ECHO._replace(memory_budget=4 * GIB),)),
    ),
    (
        limits.memory,
        "note",
        "1.0G of the control group, 2.5G by memory_hard",
        Facts(numbers(MemTotal=2 * GIB), group=Group(memory=GIB), services=(ECHO._replace(memory_hard=GIB // 2),)),
    ),
    (
        limits.memory,
        "bites",
        "600M in 2 workers and others, 1.5G with 5",
        Facts(numbers(MemTotal=GIB), running=weighed(300 << 20, 300 << 20), services=(ECHO,)),
    ),
    (
        limits.memory,
        "fine",
        "60.0M in 2 workers and others, 150M with 5",
        Facts(numbers(MemTotal=GIB), running=weighed(30 << 20, 30 << 20), services=(ECHO,)),
    ),
    (limits.cpus, "fine", "2 usable", Facts(numbers(cpus=2))),
    (limits.cpus, "fine", "0.5 by the control group, of 2", Facts(numbers(cpus=2), group=Group(cpus=0.5))),
    (limits.cpus, "note", "2 usable, throttled in 5%", Facts(numbers(cpus=2), group=Group(periods=100, throttled=5))),
    (
        limits.cpus,
        "bites",
        "2 usable, throttled in 50%",
        Facts(numbers(cpus=2), group=Group(periods=100, throttled=50)),
    ),
    (limits.core_files, "fine", "none", Facts(limits={CORE: Limit(0, -1)})),
    (
        limits.core_files,
        "fine",
        "up to unlimited bytes, named core",
        Facts(limits={CORE: Limit(-1, -1)}, words={"core_pattern": "core"}),
    ),
    (limits.overcommit, "fine", "0", Facts(numbers(vm__overcommit_memory=0))),
    (
        limits.overcommit,
        "bites",
        "2: 512M",
        Facts(numbers(vm__overcommit_memory=2, CommitLimit=GIB, Committed_AS=GIB // 2)),
    ),
    (
        limits.overcommit,
        "note",
        "2: 3.0G",
        Facts(numbers(vm__overcommit_memory=2, CommitLimit=4 * GIB, Committed_AS=GIB)),
    ),
    (limits.overcommit, "skipped", "CommitLimit could not be read", Facts(numbers(vm__overcommit_memory=2))),
    (limits.huge_pages, "note", "always", Facts(words={"transparent_hugepage": "always"})),
    (limits.huge_pages, "fine", "madvise", Facts(words={"transparent_hugepage": "madvise"})),
    (
        limits.huge_pages,
        "skipped",
        "transparent_hugepage could not be read: no such file or directory",
        Facts(unread={"transparent_hugepage": "no such file or directory"}),
    ),
    (limits.swap, "note", "10.0M of its processes", Facts(running=runs()._replace(swapped=10 << 20))),
    (limits.swap, "fine", "nothing", Facts(running=runs())),
    (limits.disk, "bites", "0% free", Facts(files=(FilePlace("log_file", "/var/log/a", "good", free=0.001),))),
    (limits.disk, "note", "5% free", Facts(files=(FilePlace("log_file", "/var/log/a", "good", free=0.05),))),
    (limits.disk, "fine", "50% free", Facts(files=(FilePlace("log_file", "/var/log/a", "good", free=0.5),))),
    (limits.kernel_calls, "bites", "missing: memfd_create", Facts(words={"missing calls": "memfd_create"})),
    (limits.kernel_calls, "fine", "all there, Linux 6.1", Facts(words={"missing calls": "", "release": "6.1"})),
    # network
    (
        network.backlog,
        "bites",
        "somaxconn 128, backlog 2048",
        Facts(numbers(net__core__somaxconn=128), services=(ECHO,)),
    ),
    (
        network.backlog,
        "note",
        "somaxconn 128",
        Facts(numbers(net__core__somaxconn=128), services=(ECHO._replace(backlog=128),)),
    ),
    (network.backlog, "fine", "somaxconn 4096, echo 2048", Facts(numbers(net__core__somaxconn=4096), services=(ECHO,))),
    (
        network.backlog,
        "fine",
        "somaxconn 128",
        Facts(numbers(net__core__somaxconn=128), services=(ECHO._replace(binds=(UDP,)),)),
    ),
    (network.handshakes, "fine", "tcp_syncookies 1", Facts(numbers(net__ipv4__tcp_syncookies=1))),
    (
        network.handshakes,
        "note",
        "tcp_syncookies 0",
        Facts(numbers(net__ipv4__tcp_syncookies=0, net__ipv4__tcp_max_syn_backlog=128)),
    ),
    (network.full_queues, "note", "tcp_abort_on_overflow 1", Facts(numbers(net__ipv4__tcp_abort_on_overflow=1))),
    (network.full_queues, "fine", "tcp_abort_on_overflow 0", Facts(numbers(net__ipv4__tcp_abort_on_overflow=0))),
    (
        network.migration,
        "fine",
        "tcp_migrate_req 0, which does not matter",
        Facts(numbers(net__ipv4__tcp_migrate_req=0)),
    ),
    (network.turned_away, "fine", "nobody", Facts(numbers(TcpExt__ListenOverflows=0, TcpExt__ListenDrops=0))),
    (
        network.turned_away,
        "note",
        "3 found a queue full",
        Facts(numbers(TcpExt__ListenOverflows=3, TcpExt__ListenDrops=4)),
    ),
    (
        network.datagrams,
        "note",
        "rmem_default 212992: 166 of 300 bytes, 7 lost",
        Facts(numbers(net__core__rmem_default=212992, Udp__RcvbufErrors=7), services=(ECHO._replace(binds=(UDP,)),)),
    ),
    (
        network.datagrams,
        "fine",
        "rmem_default 212992",
        Facts(numbers(net__core__rmem_default=212992, Udp__RcvbufErrors=0), services=(ECHO._replace(binds=(UDP,)),)),
    ),
    (
        network.outgoing_ports,
        "note",
        "40000 in 32768 to 60999",
        Facts(
            numbers(net__ipv4__ip_local_port_range=(32768, 60999)) | {"reserved ports": ()},
            places=(Place("echo", parse("tcp://127.0.0.1:40000"), "free"),),
        ),
    ),
    (
        network.outgoing_ports,
        "fine",
        "none of ours",
        Facts(
            numbers(net__ipv4__ip_local_port_range=(32768, 60999)) | {"reserved ports": (40000,)},
            places=(Place("echo", parse("tcp://127.0.0.1:40000"), "free"),),
        ),
    ),
    (network.tracked_connections, "fine", "nobody tracks", Facts()),
    (
        network.tracked_connections,
        "bites",
        "90 of 100",
        Facts(numbers(net__netfilter__nf_conntrack_count=90, net__netfilter__nf_conntrack_max=100)),
    ),
    # places
    *[
        (places.addresses, verdict, measured, Facts(user="shop", places=(Place("echo", address, state, detail),)))
        for verdict, measured, address, state, detail in (
            ("fine", "tcp://0.0.0.0:9000: free", TCP, "free", ""),
            ("fine", "tcp://0.0.0.0:9000: served by this instance", TCP, "ours", ""),
            ("fine", "fd:3: given", parse("fd:3"), "given", ""),
            ("bites", "tcp://0.0.0.0:9000: taken", TCP, "taken", "nginx [7]"),
            ("bites", "tcp://0.0.0.0:80: not allowed", parse("tcp://0.0.0.0:80"), "forbidden", "permission denied"),
            ("bites", "tcp://0.0.0.0:9000: this machine has no such address", TCP, "absent", "cannot assign"),
            ("note", "unix:/run/shop/shop.sock: a socket that nobody serves", UNIX, "stale", ""),
            ("bites", "unix:/run/shop/shop.sock: taken", UNIX, "taken", "another process"),
            ("bites", "unix:/run/shop/shop.sock: something else is there", UNIX, "no socket", ""),
            ("bites", "unix:/run/shop/shop.sock: no directory", UNIX, "no directory", ""),
            ("bites", "unix:/run/shop/shop.sock: not allowed", UNIX, "forbidden", "/run/shop is not writable"),
            ("skipped", "unix:/run/shop/shop.sock: cannot be seen", UNIX, "unknown", "cannot be seen"),
        )
    ],
    (places.lost_sockets, "bites", "/run/x is gone", Facts(running=runs()._replace(lost_paths=("/run/x",)))),
    (places.lost_sockets, "fine", "all are where", Facts(running=runs())),
    *[
        (places.files, verdict, f"pid /run/a.pid: {measured}", Facts(files=(FilePlace("pid", "/run/a.pid", state),)))
        for verdict, measured, state in (
            ("fine", "writable", "good"),
            ("bites", "no directory", "no directory"),
            ("bites", "not writable", "not writable"),
            ("bites", "held by another process", "held"),
            ("bites", "it holds something else than a pid", "odd"),
        )
    ],
    (places.name, "bites", "shop is held", Facts(name_held="shop")),
    # the application
    (code.loading, "bites", "echo cannot be loaded", Facts(loads={"echo": Outcome("a\nImportError: b")})),
    (code.loading, "fine", "echo can be loaded", Facts(loads={"echo": Outcome()})),
    (
        code.before_the_fork,
        "bites",
        "echo starts 2 threads (a, b) at import",
        Facts(services=(ECHO,), loads={"echo": Outcome(threads=("a", "b"))}),
    ),
    (
        code.before_the_fork,
        "bites",
        "echo makes 1 event loop (Loop) at import",
        Facts(services=(ECHO,), loads={"echo": Outcome(loops=("Loop",))}),
    ),
    (
        code.before_the_fork,
        "bites",
        "echo opens 1 socket (inet) at import",
        Facts(services=(ECHO,), loads={"echo": Outcome(sockets=("inet",))}),
    ),
    (
        code.before_the_fork,
        "fine",
        "echo: each worker imports for itself",
        Facts(services=(ECHO._replace(preload=False),), loads={"echo": Outcome(threads=("a",))}),
    ),
    (
        code.before_the_fork,
        "bites",
        "the mold of echo g1 has 3 threads",
        Facts(running=runs()._replace(mold_threads={"echo g1": 3})),
    ),
    (
        code.before_the_fork,
        "fine",
        "each mold has one thread",
        Facts(running=runs()._replace(mold_threads={"echo g1": 1})),
    ),
    (
        code.python,
        "note",
        "Python 3.11.7, prefork 1, without prometheus-client",
        Facts(
            words={"python": "3.11.7"},
            installed="1",
            packages={"prometheus-client": None},
            instance=from_command_line("a:B", {"bind": ("tcp://127.0.0.1:0",)}, {"admin": "tcp://127.0.0.1:0"}),
        ),
    ),
    (code.python, "fine", "Python 3.11.7, prefork 1", Facts(words={"python": "3.11.7"}, installed="1")),
    # the running instance
    (instance.health, "fine", "echo: healthy, 2 of 2", Facts(running=runs())),
    (instance.health, "note", "echo: healthy", Facts(running=runs(is_paused=True))),
    (
        instance.health,
        "bites",
        "echo: degraded, 1 of 2",
        Facts(running=runs(phase="degraded", ready=1, degraded=Degraded(why="a\nb", failures=3, next_try_seconds=1.0))),
    ),
    (instance.health, "bites", "echo: failed, 0 of 2", Facts(running=runs(phase="failed", ready=0, failed="it dies"))),
    (instance.generations, "fine", "echo: generation 1 alone", Facts(running=runs())),
    (
        instance.generations,
        "bites",
        "echo: the last reload, 5s ago, was given up",
        Facts(running=runs(last_load=LoadStatus(generation=2, outcome="abandoned", ago_seconds=5.0, why="a\nb"))),
    ),
    (instance.generations, "note", "echo: 2 workers of a generation before 2", Facts(running=runs(generation=2))),
    (instance.queues, "fine", "echo: nobody waits", Facts(running=runs())),
    (
        instance.queues,
        "bites",
        "tcp://a: 90 of 100 wait",
        Facts(running=runs(queues=[QueueStatus(bind="tcp://a", waiting=90, limit=100)])),
    ),
    (
        instance.queues,
        "bites",
        "udp://a: 5 datagrams dropped",
        Facts(running=runs(queues=[QueueStatus(bind="udp://a", waiting=0, dropped=5)])),
    ),
    (instance.queues, "note", "echo: all 2 busy for 20s", Facts(running=runs(all_busy_seconds=20.0))),
    (instance.version, "fine", "1.0, as installed", Facts(running=runs(), installed="1.0")),
    (instance.version, "note", "1.0 runs, 1.1 is installed", Facts(running=runs(), installed="1.1")),
    (
        instance.version,
        "note",
        "the interpreter of 1.0",
        Facts(running=runs()._replace(has_lost_program=True), installed="1.0"),
    ),
    # clocks
    (clock.clock, "fine", "tsc, 60 ns a look", Facts({"clock cost": (6e-8,)}, words={"clocksource": "tsc"})),
    (clock.clock, "note", "hpet, 2000 ns a look", Facts({"clock cost": (2e-6,)}, words={"clocksource": "hpet"})),
    (clock.time_of_day, "fine", "kept right", Facts({"is synchronised": (1,)})),
    (clock.time_of_day, "note", "nobody keeps it right", Facts({"is synchronised": (0,)})),
    (clock.sleep, "fine", "it has not slept", Facts({"suspended": (0.0,)})),
    (clock.sleep, "note", "slept for 1h", Facts({"suspended": (3600.0,)})),
    # the unit
    (unit.type_of_start, "fine", "Type=notify", Facts(unit=in_unit(Type="notify"))),
    (unit.type_of_start, "note", "Type=simple", Facts(unit=in_unit())),
    (unit.type_of_start, "bites", "Type=forking", Facts(unit=in_unit(Type="forking"))),
    (unit.stop_signal, "fine", "KillMode=process", Facts(unit=in_unit(KillMode="process"))),
    (unit.stop_signal, "note", "KillMode=mixed", Facts(unit=in_unit(KillMode="mixed"))),
    (unit.stop_signal, "note", "KillMode=control-group", Facts(unit=in_unit())),
    (unit.stop_signal, "bites", "KillMode=none", Facts(unit=in_unit(KillMode="none"))),
    (unit.stop_signal, "bites", "KillSignal=SIGINT", Facts(unit=in_unit(KillSignal="SIGINT", KillMode="process"))),
    (unit.stop_timeout, "bites", "TimeoutStopSec=10, graceful_timeout 30s", Facts(unit=in_unit(TimeoutStopSec="10"))),
    (unit.stop_timeout, "note", "TimeoutStopSec=10", Facts(unit=in_unit(TimeoutStopSec="10", Type="notify"))),
    (unit.stop_timeout, "fine", "TimeoutStopSec=1min 30s", Facts(unit=in_unit(TimeoutStopSec="1min 30s"))),
    (unit.stop_timeout, "fine", "TimeoutStopSec=90s by default", Facts(unit=in_unit())),
    (
        unit.stop_timeout,
        "bites",
        "TimeoutStopSec=90s by default, graceful_timeout 120s",
        Facts(unit=in_unit(), services=(ECHO._replace(graceful_timeout=120.0),)),
    ),
    (unit.stop_timeout, "bites", "'soon' is no time span", Facts(unit=in_unit(TimeoutStopSec="soon"))),
    (unit.restart, "fine", "Restart=on-failure", Facts(unit=in_unit(Restart="on-failure"))),
    (unit.restart, "note", "Restart=no", Facts(unit=in_unit())),
    (unit.watchdog, "fine", "WatchdogSec=30s", Facts(unit=in_unit(WatchdogSec="30s"))),
    (unit.watchdog, "note", "no WatchdogSec", Facts(unit=in_unit())),
    (unit.out_of_memory, "fine", "OOMPolicy=continue", Facts(unit=in_unit(OOMPolicy="continue"))),
    (unit.out_of_memory, "bites", "OOMPolicy=stop by default", Facts(unit=in_unit())),
    (unit.programs, "bites", "/a is not there", Facts(unit=in_unit()._replace(programs_missing=("/a",)))),
    (unit.programs, "fine", "ExecStart is there", Facts(unit=in_unit(ExecStart="/bin/true"))),
    (
        unit.sandbox,
        "bites",
        "/tmp/a.sock is in a private /tmp",
        Facts(unit=in_unit(PrivateTmp="yes"), places=(Place("echo", parse("unix:/tmp/a.sock"), "free"),)),
    ),
    (
        unit.sandbox,
        "bites",
        "/var/log/a is read-only",
        Facts(unit=in_unit(ProtectSystem="strict"), files=(FilePlace("log_file", "/var/log/a", "good"),)),
    ),
    *[
        (
            unit.sandbox,
            "fine",
            "hides nothing",
            Facts(
                unit=in_unit(ProtectSystem="strict", **opened),
                files=(FilePlace("log_file", "/var/log/shop/a", "good"),),
            ),
        )
        for opened in ({"ReadWritePaths": "/srv /var/log"}, {"LogsDirectory": "shop"}, {"ProtectSystem": "full"})
        if "ProtectSystem" not in opened
    ],
    (unit.identity, "fine", "User=shop", Facts(unit=in_unit(User="shop"), services=(ECHO,))),
    (unit.identity, "bites", "User=shop is not on", Facts(unit=in_unit(User="shop")._replace(has_user=False))),
    (unit.identity, "fine", "User=shop", Facts(unit=in_unit(User="shop", DynamicUser="yes")._replace(has_user=False))),
    (
        unit.identity,
        "bites",
        "User=shop, [service.echo] user = www",
        Facts(unit=in_unit(User="shop"), services=(ECHO._replace(user="www"),)),
    ),
    (
        unit.identity,
        "bites",
        "User=shop, and port 80",
        Facts(unit=in_unit(User="shop"), places=(Place("echo", parse("tcp://0.0.0.0:80"), "free"),)),
    ),
    (
        unit.identity,
        "bites",
        "User=shop, and port 80",
        Facts(
            unit=in_unit(User="shop", AmbientCapabilities="CAP_NET_BIND_SERVICE", CapabilityBoundingSet=""),
            places=(Place("echo", parse("tcp://0.0.0.0:80"), "free"),),
        ),
    ),
    (
        unit.identity,
        "bites",
        "User=root, and port 80",
        Facts(
            unit=in_unit(CapabilityBoundingSet=""),
            places=(Place("echo", parse("tcp://0.0.0.0:80"), "free"),),
        ),
    ),
    (
        unit.identity,
        "fine",
        "User=root",
        Facts(unit=in_unit(), places=(Place("echo", parse("tcp://0.0.0.0:80"), "free"),)),
    ),
    (
        unit.identity,
        "fine",
        "User=shop",
        Facts(
            unit=in_unit(User="shop", AmbientCapabilities="cap_net_bind_service"),
            places=(Place("echo", parse("tcp://0.0.0.0:80"), "free"),),
        ),
    ),
]


def found_by(check: Check, facts: Facts) -> list[Finding]:
    return [finding for findings in examine(facts).values() for finding in findings if finding.about == name_of(check)]


@pytest.mark.parametrize(
    ("check", "verdict", "measured", "facts"), CASES, ids=[f"{c.__name__}: {m}" for c, _, m, _ in CASES]
)
def test_what_a_check_finds(check: Check, verdict: str, measured: str, facts: Facts) -> None:
    """First of all; what is not fine says why, and what to type."""
    first = found_by(check, facts)[0]
    assert (first.verdict, first.measured[: len(measured)]) == (verdict, measured)
    assert bool(first.why) == bool(first.commands) == (verdict in ("bites", "note"))


def test_each_check_is_in_the_table() -> None:
    """With more than one outcome, but for those that only tell."""
    checks = {check for group in GROUPS for check in group.checks}
    assert checks - {check for check, _, _, _ in CASES} == {instance.admin}
    only_tell = {network.migration, limits.core_files, instance.admin, places.name}
    for check in checks - only_tell:
        assert len({verdict for one, verdict, _, _ in CASES if one is check}) > 1, check


COMMANDS = sorted({c for check, _, _, facts in CASES for f in found_by(check, facts) for c in f.commands})


def test_each_command_is_one() -> None:
    """A shell can read it; what is no command is a comment."""
    script = "\n".join(COMMANDS)
    done = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(COMMANDS) > 40


def test_a_line_is_added_beside_others_of_a_list(tmp_path: Path) -> None:
    """What a list has keeps; of anything else the old line goes. A path may have spaces."""
    path = tmp_path / "my shop.service"
    path.write_text("[Service]\nReadWritePaths=/a\nUser=shop\n")
    facts = Facts(unit=Unit(str(path), {}))
    for directive in ("ReadWritePaths=/b", "User=www"):
        (command,) = set_in_unit(facts, directive)
        subprocess.run(["sh", "-c", command], check=True)
    assert sorted(path.read_text().split()) == ["ReadWritePaths=/a", "ReadWritePaths=/b", "User=www", "[Service]"]


def test_low_ports_want_both_sets_of_a_unit_that_has_them() -> None:
    """What is not in the bounding set is not in the ambient one, whatever the unit says."""
    places_ = (Place("echo", parse("tcp://0.0.0.0:80"), "free"),)
    closed = Facts(unit=in_unit(User="shop", CapabilityBoundingSet=""), places=places_)
    (finding,) = found_by(unit.identity, closed)
    added = [command.partition("/a ")[2].partition("=")[0] for command in finding.commands]
    assert added == ["AmbientCapabilities", "CapabilityBoundingSet"]
    opened = in_unit(User="shop", AmbientCapabilities="CAP_NET_BIND_SERVICE", CapabilityBoundingSet="~CAP_SYS_ADMIN")
    assert found_by(unit.identity, Facts(unit=opened, places=places_))[0].verdict == "fine"


def test_nobody_is_given_a_directory_of_others() -> None:
    """A file that is not there yet is not to be given away, and its directory belongs to more than it."""
    missing, there = (
        FilePlace("log_file", "/var/log/a", "not writable", "/var/log"),
        FilePlace("log_file", "/var/log/a", "not writable", "/var/log/a"),
    )
    (first, second) = found_by(places.files, Facts(files=(missing, there), user="shop"))
    assert first.commands == ("ls -ld /var/log    # choose a directory of that user's",)
    assert second.commands == ("sudo chown shop /var/log/a",)


def test_the_whole_reason_is_asked_for_as_the_doctor_was() -> None:
    """By the same file, or target."""
    facts = Facts(loads={"echo": Outcome("no")}, source="-c 'a b.toml'")
    assert found_by(code.loading, facts)[0].commands == ("prefork check --load -c 'a b.toml'    # the whole reason",)


def test_what_steers_an_instance_names_it() -> None:
    """Where several run, a command without a name would be refused."""
    steering = [c for c in COMMANDS if c.startswith("prefork ") and not c.startswith("prefork check")]
    assert len(steering) > 5
    assert [
        command for command in steering if " -n " not in command and not command.startswith("prefork status ")
    ] == []


def test_what_cannot_be_read_is_skipped_and_the_rest_is_judged() -> None:
    """With no facts at all no check fails, and none says that something bites."""
    findings = [finding for findings in examine(Facts(services=(ECHO,))).values() for finding in findings]
    assert {finding.verdict for finding in findings} == {"skipped", "fine"}
    assert all("could not be read" in finding.measured for finding in findings if finding.verdict == "skipped")


def test_without_an_instance_a_unit_and_places_only_the_machine_is_judged() -> None:
    """What there is not is not mentioned."""
    assert set(examine(Facts())) <= {"application", "limits", "network", "machine"}
