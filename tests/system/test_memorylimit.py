"""Limits of memory, as a machine and its control groups write them."""

from pathlib import Path

from prefork.system import memorylimit

MIB = 1 << 20
FILE = {"v2": "memory.max", "v1": "memory.limit_in_bytes"}
UNLIMITED = {"v2": "max", "v1": "9223372036854771712"}


def test_the_machine_is_a_limit(version: str) -> None:
    """Where no group limits anything, it alone."""
    limit = memorylimit.usable()
    assert limit.why == "the machine's"
    assert limit.amount > MIB


def test_a_group_is_a_limit(version: str, tmp_path: Path) -> None:
    """The process' own."""
    path = tmp_path / "cgroup/slice/shop" / FILE[version]
    path.write_text(f"{64 * MIB}\n")
    assert memorylimit.usable() == (64 * MIB, str(path))


def test_a_group_above_is_a_limit_as_well(version: str, tmp_path: Path) -> None:
    """The least of all of them counts."""
    (tmp_path / "cgroup/slice/shop" / FILE[version]).write_text(f"{64 * MIB}\n")
    above = tmp_path / "cgroup/slice" / FILE[version]
    above.write_text(f"{32 * MIB}\n")
    assert memorylimit.usable() == (32 * MIB, str(above))


def test_no_limit_is_written_in_two_ways(version: str, tmp_path: Path) -> None:
    """As a word, and as a number that no machine has."""
    (tmp_path / "cgroup/slice/shop" / FILE[version]).write_text(UNLIMITED[version] + "\n")
    assert memorylimit.usable().why == "the machine's"


def test_what_cannot_be_read_limits_nothing(version: str, tmp_path: Path) -> None:
    """Something odd in the file, or no such file system."""
    (tmp_path / "cgroup/slice/shop" / FILE[version]).write_text("plenty\n")
    assert memorylimit.usable().why == "the machine's"
