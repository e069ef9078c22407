"""What the kernel tells of settings, counters, clocks, processes and addresses: real ones, and files made by hand."""

import fcntl
import os
import socket
import time
from pathlib import Path

import pytest

from prefork.binds import parse
from prefork.system import cgroups, clocks, grouplimits, occupants, procfs, sysctl
from prefork.system.procfs import Limit


def test_settings_have_one_number_or_several() -> None:
    """By the names of sysctl(8)."""
    assert sysctl.setting("net.core.somaxconn")[0] > 0
    assert len(sysctl.setting("net.ipv4.ip_local_port_range")) == 2


def test_a_setting_that_is_none_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there is no such file, or no number in it."""
    monkeypatch.setattr(sysctl, "SETTINGS", str(tmp_path))
    (tmp_path / "word").write_text("on\n")
    for name in ("nosuch", "word"):
        with pytest.raises(OSError):
            sysctl.setting(name)


def test_counters_stand_in_two_rows_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, and numbers below them; a name may be in several groups."""
    (tmp_path / "netstat").write_text("TcpExt: A ListenDrops\nTcpExt: 1 7\n")
    (tmp_path / "snmp").write_text("Ip: A\nIp: 2\nUdp: A RcvbufErrors\nUdp: 3 9\n")
    monkeypatch.setattr(sysctl, "COUNTERS", str(tmp_path))
    expected = {"TcpExt.A": 1, "TcpExt.ListenDrops": 7, "Ip.A": 2, "Udp.A": 3, "Udp.RcvbufErrors": 9}
    assert sysctl.counters() == expected


def test_a_full_queue_is_counted() -> None:
    """By the real ones: a client too many for a queue of one."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        before = sysctl.counters()["TcpExt.ListenOverflows"]
        clients = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            clients.append(client)
        assert sysctl.counters()["TcpExt.ListenOverflows"] > before
        for client in clients:
            client.close()


def test_clocks() -> None:
    """A look costs something, and the machine has not slept for less than no time."""
    assert 0 < clocks.cost() < 1
    assert clocks.suspended() > -1
    assert abs(time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic() - clocks.suspended()) < 1
    assert clocks.is_synchronised() in (True, False)


def test_limits_of_a_process_are_those_it_has() -> None:
    """Soft and hard, and -1 for none."""
    import resource

    def known(what: int) -> Limit:
        return Limit(*(-1 if value == resource.RLIM_INFINITY else value for value in resource.getrlimit(what)))

    found = procfs.limits(os.getpid())
    assert found["Max open files"] == known(resource.RLIMIT_NOFILE)
    assert found["Max core file size"] == known(resource.RLIMIT_CORE)
    assert found["Max processes"] == known(resource.RLIMIT_NPROC)


def test_threads_swap_and_program_of_a_process() -> None:
    """Of ourselves, who have at least one thread, and whose program is there."""
    assert procfs.threads(os.getpid()) >= 1
    assert procfs.threads_of_user(os.getuid()) >= procfs.threads(os.getpid())
    assert procfs.swapped_bytes(os.getpid()) >= 0
    assert not procfs.has_lost_program(os.getpid())
    assert procfs.meminfo()["MemTotal"] > 0


def test_a_lock_is_found_without_taking_it(tmp_path: Path) -> None:
    """Who holds it; nobody, where it is not held."""
    path = tmp_path / "pid"
    path.write_text("")
    assert procfs.locker_of(str(path)) is None
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert procfs.locker_of(str(path)) == os.getpid()


def test_addresses_are_tried_and_given_back() -> None:
    """One that is free stays free; one that is not says why, and who has it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        taken = occupants.refusal(parse(f"tcp://127.0.0.1:{port}"))
        assert taken is not None
        assert occupants.holder_of_port("tcp", port).pid == os.getpid()
    assert occupants.refusal(parse(f"tcp://127.0.0.1:{port}")) is None
    assert occupants.refusal(parse(f"udp://127.0.0.1:{port}")) is None
    assert occupants.refusal(parse("tcp://192.0.2.7:0")) is not None
    assert occupants.refusal(parse("tcp://nosuch.invalid:0")) is not None
    assert str(occupants.holder_of_port("tcp", 1)) == "somebody whom this user cannot see"


def test_paths_are_looked_at_and_nobody_is_connected_to(tmp_path: Path) -> None:
    """Nothing, somebody, a rest of somebody, or something else."""
    path = str(tmp_path / "s")
    assert occupants.occupancy(path) == "nothing"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.setblocking(False)
        assert occupants.occupancy(path) == "served"
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert occupants.occupancy(path) == "stale"
    assert occupants.occupancy(str(tmp_path)) == "no socket"
    name = f"@prefork-test-{os.getpid()}"
    assert not occupants.is_served_by_name(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name[1:])
        assert occupants.is_served_by_name(name)


@pytest.mark.parametrize(
    ("kind", "files", "expected"),
    [
        (
            "30 23 0:26 / {mount} rw - cgroup2 cgroup2 rw\n",
            {
                "memory.max": "104857600",
                "pids.max": "max",
                "pids.current": "7",
                "cpu.max": "50000 100000",
                "cpu.stat": "usage_usec 1\nnr_periods 100\nnr_throttled 25",
                "memory.events": "low 0\noom 2\noom_kill 3",
            },
            grouplimits.Group(104857600, None, 7, 0.5, 100, 25, 3),
        ),
        (
            "31 23 0:27 / {mount} rw - cgroup cgroup rw,cpu,memory,pids\n",
            {
                "memory.limit_in_bytes": "9223372036854771712",
                "pids.max": "64",
                "pids.current": "7",
                "cpu.cfs_quota_us": "-1",
                "cpu.cfs_period_us": "100000",
                "cpu.stat": "nr_periods 0\nnr_throttled 0",
                "memory.oom_control": "oom_kill_disable 0\noom_kill 3",
            },
            grouplimits.Group(None, 64, 7, None, 0, 0, 3),
        ),
    ],
    ids=["version 2", "version 1"],
)
def test_limits_of_a_control_group(
    kind: str,
    files: dict[str, str],
    expected: grouplimits.Group,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of both versions; what is not limited is not known."""
    mount = tmp_path / "cgroup"
    (mount / "shop").mkdir(parents=True)
    (tmp_path / "mounts").write_text(kind.format(mount=mount))
    (tmp_path / "groups").write_text(f"{'0:' if 'cgroup2' in kind else '4:cpu,memory,pids'}:/shop\n")
    for name, text in files.items():
        (mount / "shop" / name).write_text(text + "\n")
    monkeypatch.setattr(cgroups, "MOUNTS", str(tmp_path / "mounts"))
    monkeypatch.setattr(cgroups, "GROUPS", str(tmp_path / "groups"))
    assert grouplimits.look() == expected
