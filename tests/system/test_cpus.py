"""Limits of CPUs, as a machine, a container and a service manager write them."""

import os
from pathlib import Path

import pytest

from prefork.system import cgroups, cpus

V2 = "30 23 0:26 {root} {mount} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "31 23 0:27 {root} {mount} rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"


class Tree:
    """Files of control groups, and of the process that asks.

    :param root: of the mount, within its hierarchy.
    """

    def __init__(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, kind: str, group: str, root: str = "/"
    ) -> None:
        self.mount = directory / "cgroup"
        mounts, groups = directory / "mountinfo", directory / "group"
        mounts.write_text("29 23 0:25 / /proc rw - proc proc rw\n" + kind.format(root=root, mount=self.mount))
        groups.write_text(f"{'0:' if kind is V2 else '4:cpu,cpuacct'}:{group}\n")
        monkeypatch.setattr(cgroups, "MOUNTS", str(mounts))
        monkeypatch.setattr(cgroups, "GROUPS", str(groups))
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))

    def write(self, name: str, text: str) -> "Tree":
        path = self.mount / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
        return self


def test_the_affinity_mask_is_a_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no group limits anything, it alone."""
    Tree(tmp_path, monkeypatch, V2, "/")
    assert cpus.usable() == (8.0, "8 CPUs by the affinity mask")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert cpus.usable() == (1.0, "1 CPU by the affinity mask")


def test_a_quota_of_version_2_is_a_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """150 ms in each 100 ms are one and a half CPUs."""
    tree = Tree(tmp_path, monkeypatch, V2, "/shop").write("shop/cpu.max", "150000 100000")
    assert cpus.usable() == (1.5, f"1.5 CPUs by {tree.mount}/shop/cpu.max")
    tree.write("shop/cpu.max", "100000 100000")
    assert cpus.usable() == (1.0, f"1 CPU by {tree.mount}/shop/cpu.max")
    tree.write("shop/cpu.max", "max 100000")
    assert cpus.usable().amount == 8


def test_a_quota_of_version_1_is_a_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two files, and -1 for none."""
    tree = Tree(tmp_path, monkeypatch, V1, "/shop").write("shop/cpu.cfs_period_us", "50000")
    tree.write("shop/cpu.cfs_quota_us", "100000")
    assert cpus.usable() == (2.0, f"2 CPUs by {tree.mount}/shop/cpu.cfs_quota_us")
    tree.write("shop/cpu.cfs_quota_us", "-1")
    assert cpus.usable().amount == 8


def test_a_group_above_limits_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The least of all of them counts."""
    tree = Tree(tmp_path, monkeypatch, V2, "/slice/shop").write("slice/shop/cpu.max", "400000 100000")
    tree.write("slice/cpu.max", "300000 100000")
    assert cpus.usable().amount == 3


def test_in_a_container_the_mount_is_the_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its root within the hierarchy is ours, or lies above what we may see."""
    Tree(tmp_path, monkeypatch, V2, "/docker/1234", root="/docker/1234").write("cpu.max", "50000 100000")
    assert cpus.usable().amount == 0.5
    Tree(tmp_path, monkeypatch, V2, "/", root="/../../..").write("cpu.max", "50000 100000")
    assert cpus.usable().amount == 0.5


def test_what_cannot_be_read_limits_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No /proc, no control groups, or something odd in their files."""
    tree = Tree(tmp_path, monkeypatch, V2, "/shop").write("shop/cpu.max", "plenty")
    assert cpus.usable().amount == 8
    tree.write("shop/cpu.max", "100000 0")
    assert cpus.usable().amount == 8
    monkeypatch.setattr(cgroups, "MOUNTS", str(tmp_path / "nowhere"))
    monkeypatch.setattr(cgroups, "GROUPS", str(tmp_path / "nowhere"))
    assert cpus.usable().amount == 8


def test_this_process_may_use_some_cpu() -> None:
    """Whatever machine runs this."""
    assert 0 < cpus.usable().amount <= len(os.sched_getaffinity(0))
