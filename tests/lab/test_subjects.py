"""Subjects: they serve when they are started, and nothing of them is left, whatever happens."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from prefork.errors import CommandError, TargetError, UsageError
from prefork.lab import scratch, tree
from prefork.lab.subjects import Subject
from tests.end_to_end.clients import Question, ask
from tests.end_to_end.harness import STREAM, Watched, look_until


@pytest.mark.parametrize(("line", "workers"), [("sync", 1), ("prefork", 2), ("hybrid", 2)])
def test_it_serves_and_leaves_nothing(line: str, workers: int) -> None:
    """Its address answers, its workers count, and its whole tree is gone afterwards."""
    with Subject.start(line, STREAM, workers) as subject:
        assert ask(subject.url, "hello") == "HELLO"
        report = subject.status()
        assert report is not None
        assert report.snapshot.services[0].ready == workers
        if workers > 1:
            look_until(lambda: sum((subject.served() or {}).values()) == 1, "the request is counted")
        else:
            assert subject.served() is None
        everybody = Watched(tree.pids(subject.pid))
        assert len(everybody.pidfds) == 2 + workers  # the master, its mold, the workers
        assert subject.stop() == []
    with everybody:
        everybody.wait_all()


def test_a_unix_socket_has_a_place_of_its_own() -> None:
    """Which is gone with the subject."""
    with Subject.start("sync", STREAM, 1, bind="unix:") as subject:
        assert ask(subject.url, "hello") == "HELLO"
        path = subject.url.removeprefix("unix:")
        assert os.path.exists(path)
    assert not os.path.exists(os.path.dirname(path))


def test_a_long_temporary_directory_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's path holds 107 bytes, which some have used up by then."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with Subject.start("bare", STREAM, 1, bind="unix:") as subject:
        assert ask(subject.url, "hello") == "HELLO"


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    """The reason is the application's own, not that some process ended."""
    (tmp_path / "broken.py").write_text("raise RuntimeError('no database')\n")
    with pytest.raises(TargetError, match=r"^RuntimeError: no database; prefork run broken:Handler shows where$"):
        Subject.start("prefork", "broken:Handler", 2, pythonpath=[str(tmp_path)])
    with pytest.raises(TargetError, match="no module named 'nowhere'"):
        Subject.start("prefork", "nowhere:Handler", 2)
    with pytest.raises(UsageError, match="timeout"):
        Subject.start("prefork", STREAM, 2, extra=["--timeout=soon"])


def test_what_is_killed_says_so() -> None:
    """A master that died under the load is a doubt, and no crash of ours."""
    with Subject.start("prefork", STREAM, 2) as subject:
        everybody = Watched(tree.pids(subject.pid))
        os.kill(subject.pid, signal.SIGKILL)
        with pytest.raises(CommandError):
            while True:  # until its socket is gone with it
                subject.status()
        doubts = subject.stop()
        assert [doubt.kind for doubt in doubts] == ["stop"]
        assert "was killed by SIGKILL" in str(doubts[0])
    with everybody:
        everybody.wait_all()


@pytest.mark.parametrize("line", ["prefork", "fork", "stdlib-fork"])
def test_what_does_not_stop_is_killed(line: str) -> None:
    """With all that it started; that is a doubt where somebody asked for its end in peace."""
    with Subject.start(line, "prefork.lab.handlers:Stream", 2 if line == "prefork" else 1, bind="unix:") as subject:
        before = len(tree.pids(subject.pid))
        question = Question(subject.url, "wait 600")
        if line != "prefork":
            look_until(lambda: len(tree.pids(subject.pid)) > before, "a child handles it")
        else:
            look_until(lambda: is_busy(subject), "a worker handles it")
        everybody = Watched(tree.pids(subject.pid))
        doubts = subject.stop(0.1)
        question.socket.close()
    assert [doubt.kind for doubt in doubts] == ([] if line == "stdlib-fork" else ["stop"])
    with everybody:
        everybody.wait_all()


def is_busy(subject: Subject) -> bool:
    report = subject.status()
    return report is not None and report.snapshot.services[0].busy == 1


def test_it_ends_with_whoever_measured() -> None:
    """Also where he was killed, and could clean nothing up; the next one does that."""
    code = (
        "import sys\n"
        "from prefork.lab.subjects import Subject\n"
        f"subject = Subject.start('prefork', {STREAM!r}, 2)\n"
        "print(subject.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as base:  # of a short name
        with subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": base},
        ) as measuring:
            assert measuring.stdout is not None
            with Watched(tree.pids(int(measuring.stdout.readline()))) as everybody:
                measuring.kill()
                everybody.wait_all()
        (left,) = os.listdir(base)
        assert "maker" in os.listdir(os.path.join(base, left))
        scratch.sweep(base)
        assert os.listdir(base) == []


def test_no_directory_is_taken_from_whoever_uses_it(tmp_path: Path) -> None:
    """Whose maker lives, or holds its lock where his pid cannot be seen; nor is anything else in the place."""
    nobody = 2**22 + 1  # more than there may be
    names = [f"prefork-lab-{os.getpid()}-alive", f"prefork-lab-{nobody}-locked", "prefork-lab-mine", f"{nobody}"]
    for name in (*names, f"prefork-lab-{nobody}-left"):
        (tmp_path / name / "inside").mkdir(parents=True)
        (tmp_path / name / "maker").touch()
    os.symlink(tmp_path / names[-1], tmp_path / f"prefork-lab-{nobody}-link")
    held = os.open(tmp_path / names[1] / "maker", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    scratch.sweep(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {*names, f"prefork-lab-{nobody}-link"}
    assert all((tmp_path / name / "inside").exists() for name in names)
    os.close(held)
