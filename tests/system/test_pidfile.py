"""A pid file is believed only while its lock is held; one promise a test."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prefork.system.pidfile import PidFile
from tests.children import Child, Link, descriptors, said_by


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.pid"


def test_it_holds_our_pid_until_it_is_closed(path: Path) -> None:
    """Then nothing is left, neither file nor descriptor."""
    before = descriptors()
    file = PidFile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o644 & ~_umask()
    file.close()
    assert not path.exists()
    assert not descriptors() - before


def _umask() -> int:
    bits = os.umask(0)
    os.umask(bits)
    return bits


def hold(path: Path, parent: Link) -> None:
    file = PidFile(str(path))
    parent.say(os.getpid())
    parent.hear()
    file.close()


def test_one_process_holds_it(path: Path) -> None:
    """A second one is refused and changes nothing, as long as the first lives."""
    with Child(lambda parent: hold(path, parent)) as first:
        pid = first.hear()
        before = descriptors()
        with pytest.raises(BlockingIOError):
            PidFile(str(path))
        assert path.read_text() == f"{pid}\n"
        assert not descriptors() - before
        first.say("leave")
        first.hear()
    PidFile(str(path)).close()


@pytest.mark.parametrize("text", ["", "4711\n", "1", " 99999999999999 \n"])
def test_a_file_that_was_left_behind_means_nothing(path: Path, text: str) -> None:
    """Whatever process has that number now, it does not hold the lock."""
    path.write_text(text)
    file = PidFile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    file.close()


def test_one_whose_holder_was_killed_means_nothing(path: Path) -> None:
    """The lock went with it."""
    with Child(lambda parent: hold(path, parent)) as first:
        first.hear()
    assert path.exists()
    PidFile(str(path)).close()


def test_what_is_no_pid_file_is_left_alone(path: Path) -> None:
    """A path that was mistyped costs nobody a file."""
    path.write_text("[service.echo]\n")
    with pytest.raises(FileExistsError):
        PidFile(str(path))
    assert path.read_text() == "[service.echo]\n"


def test_a_named_pipe_is_no_pid_file(path: Path) -> None:
    """And nobody waits for who might write into it."""
    os.mkfifo(path)
    with pytest.raises(OSError, match="it is no regular file"):
        PidFile(str(path))


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.rename(path.with_suffix(".1"))])
def test_a_file_that_is_not_ours_is_not_removed(path: Path, change: Callable[[Path], object]) -> None:
    """Somebody has taken ours away, and another holds the path now."""
    file = PidFile(str(path))
    change(path)
    with Child(lambda parent: hold(path, parent)) as other:
        pid = other.hear()
        file.close()
        assert path.read_text() == f"{pid}\n"
        other.say("leave")
        other.hear()


def test_no_program_inherits_the_lock(path: Path) -> None:
    """One that lived on with it would hold it for us."""

    def look(parent: Link) -> bool:
        file = PidFile(str(path))
        return os.get_inheritable(file._fd)

    assert said_by(look) is False


def test_a_directory_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """With the reason, for whoever asked."""
    with pytest.raises(FileNotFoundError):
        PidFile(str(tmp_path / "missing" / "run.pid"))
