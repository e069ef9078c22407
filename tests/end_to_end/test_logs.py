"""What a running service logs, where, and who may ask for more of it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from prefork.system.logsockets import JOURNAL
from tests.end_to_end.clients import Question, ask
from tests.end_to_end.harness import DATAGRAM, ROOT, STREAM, TCP, UDP, Application, Gate, Master, look_until, serving
from tests.end_to_end.http import fetch
from tests.end_to_end.load import Load
from tests.end_to_end.test_control import NAMED, status, steer
from tests.end_to_end.test_modes import MODES
from tests.long import long_but

JOURNALD = "/lib/systemd/systemd-journald"
FIELDS = {"time", "level", "instance", "process", "pid", "logger", "message"}
needs_journald = pytest.mark.skipif(
    not os.path.exists(JOURNALD) or shutil.which("journalctl") is None or os.geteuid() != 0,
    reason="systemd-journald is not installed, or we are not root",
)
needs_rsyslogd = pytest.mark.skipif(shutil.which("rsyslogd") is None, reason="rsyslogd is not installed")


def read_json(*paths: Path) -> list[dict[str, Any]]:
    """All lines of all files; each parses."""
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


# lines


def test_every_line_of_a_life_is_json_with_its_fields(tmp_path: Path) -> None:
    """Boot, requests, an error, a death, a reload, a stop; from master, mold, workers and the application."""
    path = tmp_path / "log"
    app = Application(tmp_path).write(
        "1", "import logging; logging.getLogger('shop').warning('imported', extra={'a': 1})"
    )
    bind = free_port()
    flags = ["--log-file", str(path), "--log-format", "json", "--log-level", "debug", "--access-log", "log"]
    with Master(*app.arguments, "-b", bind, "-w", "2", *flags) as master:

        def is_told(text: str) -> None:
            look_until(lambda: path.exists() and text in path.read_text(), text)

        is_told("generation 1 serves")
        assert ask(bind, "hello") == "HELLO"
        assert Question(bind, "raise two\\nlines").is_lost()
        is_told('"outcome": "error"')  # a client may be gone before its line is written
        master.kill(master.workers()[1])
        is_told("killed by SIGKILL")
        master.signal(signal.SIGHUP)
        is_told("generation 2 serves")
        master.stop()

    lines = read_json(path)
    for line in lines:
        assert line.keys() >= FIELDS, line
        if line["process"] in ("worker", "child"):
            assert line.keys() >= {"service", "slot", "generation"}, line
        if line["process"] == "mold":
            assert line.keys() >= {"service", "generation"}, line
    assert {line["process"] for line in lines} == {"master", "mold", "worker"}
    assert {line["generation"] for line in lines if line["message"] == "imported"} == {1, 2}
    assert {line["a"] for line in lines if line["message"] == "imported"} == {1}
    (failure,) = [line for line in lines if "the handler failed" in line["message"]]
    assert "ValueError: two" in failure["exception"]
    assert [line["outcome"] for line in lines if line["logger"] == "prefork.access"] == ["ok", "error"]


# files


def test_rotation_by_somebody_who_tells_nobody_loses_no_line(tmp_path: Path) -> None:
    """Log and access log are moved away under load, again and again: each request has its line in one of the files."""
    log, access = tmp_path / "log", tmp_path / "access"
    bind = free_port()
    flags = ["--log-file", str(log), "--access-log", str(access), "--log-format", "json"]
    with Master(STREAM, "-b", bind, "-w", "3", *flags) as master:
        look_until(lambda: log.exists() and "generation 1 serves" in log.read_text(), "it serves")
        with Load(bind, clients=8) as load:
            for number in range(1, 4):
                load.wait_answered(300)
                access.rename(tmp_path / f"access.{number}")
                if number == 2:
                    log.rename(tmp_path / "log.2")
                look_until(access.exists, "the master has opened it anew")
            outcome = load.finish()
        look_until(log.exists, "the log follows as well")
        master.stop()
    lines = read_json(*tmp_path.glob("access*"))
    assert len(lines) == outcome.answered
    assert all(line["outcome"] == "ok" and line["bytes_in"] == line["bytes_out"] for line in lines)
    assert len({(line["pid"], line["request"]) for line in lines}) == len(lines)
    assert "log reopened" in log.read_text()
    assert "stopped, exit 0" in log.read_text()


def test_files_are_opened_anew_on_demand(tmp_path: Path) -> None:
    """By the command, as by USR1; who is idle follows as well."""
    log, access = tmp_path / "log", tmp_path / "access"
    bind = free_port()
    flags = ["--log-file", str(log), "--access-log", str(access)]
    with Master(STREAM, "-b", bind, "-w", "1", *NAMED, *flags):
        look_until(lambda: log.exists() and "generation 1 serves" in log.read_text(), "it serves")
        for path in (log, access):
            path.rename(path.with_suffix(".1"))
        assert steer("reopen-logs").code == 0
        assert access.read_text() == ""
        assert Question(bind, "raise it").is_lost()
        look_until(lambda: "ValueError: it" in log.read_text(), "the worker writes into the new log")
        look_until(lambda: " error " in access.read_text(), "and into the new access log")


@pytest.mark.parametrize("mode", ["sync", "fork"])
def test_a_long_request_writes_on_into_the_new_file(mode: str, tmp_path: Path, gate: Gate) -> None:
    """Nobody waits for its end: worker and child open the log anew in the midst of it."""
    log, bind = tmp_path / "log", free_port()
    with Master(STREAM, "-b", bind, *MODES[mode], *NAMED, "--log-file", str(log)) as master:
        look_until(lambda: log.exists() and "generation 1 serves" in log.read_text(), "it serves")
        held = Question(bind, f"hold {gate.path}")
        visitor = gate.visitor()
        moved = log.rename(log.with_suffix(".1"))

        def is_open(path: Path, pid: int) -> bool:
            return any(os.path.realpath(entry) == str(path) for entry in Path(f"/proc/{pid}/fd").iterdir())

        assert is_open(moved, visitor.pid)
        assert steer("reopen-logs").code == 0
        pids = {visitor.pid, master.workers()[1]}
        look_until(lambda: all(is_open(log, pid) and not is_open(moved, pid) for pid in pids), "they write there alone")
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)


# the access log


@pytest.mark.parametrize("mode", long_but(["sync", "thread", "fork", "hybrid"], "thread", "fork"))
def test_each_request_has_a_line(mode: str, tmp_path: Path) -> None:
    """As many as were answered under load, each with its peer; and of those that fail, how."""
    access = tmp_path / "access"
    flags = ["--access-log", str(access), "--log-format", "json"]
    with Master(STREAM, "-b", (bind := free_port()), *MODES[mode], *flags) as master:
        master.wait_serving()
        with Load(bind, clients=8) as load:
            load.wait_answered(200)
            outcome = load.finish()
        assert Question(bind, "raise it").is_lost()
        if mode == "fork":
            assert Question(bind, "exit 3").is_lost()
        look_until(lambda: access.read_text().count("\n") >= outcome.answered + 1 + (mode == "fork"), "all are told")
        master.stop()
    lines = read_json(access)
    outcomes = [line["outcome"] for line in lines]
    assert (outcomes.count("ok"), outcomes.count("error")) == (outcome.answered, 1)
    assert outcomes.count("lost") == (mode == "fork")
    assert {line["error"] for line in lines if line["outcome"] == "error"} == {"ValueError"}
    assert all(line["peer"].startswith("127.0.0.1:") and line["seconds"] >= 0 for line in lines)


def test_datagrams_and_timeouts_have_lines_too(tmp_path: Path, gate: Gate) -> None:
    """A datagram has its length, a request that was too slow its outcome; on the console, as people read them."""
    with serving(DATAGRAM, "-b", UDP, "-w", "1", "--access-log", "log", "--timeout", "1s") as master:
        assert ask(master.bind(), "hello") == "HELLO"
        assert "worker 1 g1" in master.wait_for("#1 ok ")
        assert master.lines("#1 ok ")[0].endswith(" s, 6 bytes in")
        Question(master.bind(), f"hold {gate.path}")
        gate.visitor()
        master.wait_for("#2 timeout 1.")


# the level


def test_the_log_level_changes_at_run_time_and_lasts(application: Application) -> None:
    """In the master, in workers that are there, in those that come, over a reload and an upgrade."""
    talk = "import logging; from tests.end_to_end import apps; apps.COMMANDS['talk'] = lambda rest: "
    application.write("1", talk + "logging.getLogger('shop').debug('heard %s', rest) or 'said'")
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "1", "--log-level", "info") as master:
        assert ask(master.bind(), "talk one") == "said"
        assert steer("log-level", "debug").code == 0
        assert status()["log_level"] == "debug"
        look_until(lambda: bool(ask(master.bind(), "talk two")) and bool(master.lines("heard two")), "it is heard")
        master.kill(master.workers()[1])
        assert ask(master.bind(), "talk three") == "said"
        master.wait_for("heard three")
        assert steer("reload").code == 0
        assert ask(master.bind(), "talk four") == "said"
        master.wait_for("heard four")
        assert steer("upgrade").code == 0
        assert ask(master.bind(), "talk five") == "said"
        master.wait_for("heard five")
        master.wait_for("is ready")
        assert steer("log-level", "error").code == 0
        assert not master.lines("heard one")


def test_a_level_that_is_none_is_refused() -> None:
    """Before anybody is asked."""
    assert steer("log-level", "loud").code == 2


# stacks


def test_a_worker_is_dumped_wherever_it_is(gate: Gate) -> None:
    """Idle, in Python, and in C with the interpreter's lock; by slot and by pid. It goes on, where it can."""
    flags = ["-b", TCP, "-w", "3", *NAMED, "--quick-timeout", "200ms"]
    with serving(STREAM, *flags) as master:
        master.ready_workers(gate, 3)
        idle = steer("dump", "1")
        assert (idle.code, idle.err) == (0, ""), idle
        assert " in for_news" in idle.out
        waiting = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        held = steer("dump", str(visitor.pid))
        assert f"[{visitor.pid}]" in held.out
        assert " in pass_gate" in held.out
        stuck = Question(master.bind(), f"stuck-in-c {gate.path}")
        dumped = steer("dump", str(gate.visitor().pid))
        assert "stuck in C" in dumped.out
        assert " in _stuck_in_c" in dumped.out
        visitor.let_pass()
        assert int(waiting.answer()) == visitor.pid
        assert steer("dump", "77").end[0] == 1
        assert steer("dump", "one").end[0] == 2
        assert steer("stop", "--now").code == 0
        assert stuck.is_lost()
        master.expect_exit(5)


def test_a_worker_that_does_not_become_ready_is_dumped(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Python code of its own, which says where it waits."""
    monkeypatch.setenv("GATE", gate.path)
    with Master(STREAM, "-b", TCP, "-w", "1", *NAMED, "--worker-start", "tests.end_to_end.hooks:wait") as master:
        visitor = gate.visitor()
        dumped = steer("dump", "1")
        assert dumped.out.splitlines()[0] == f"worker 1 [{visitor.pid}]"
        assert " in wait" in dumped.out
        visitor.let_pass()
        master.wait_serving()


def test_a_worker_is_dumped_that_holds_a_lock_of_the_applications_log(application: Application, gate: Gate) -> None:
    """Which ours has interrupted: stacks are told past the application's handlers, and the request goes on."""
    application.write(
        "1",
        "import logging, threading",
        "class Locked(logging.Handler):",
        "    mutex = threading.Lock()",
        "    def emit(self, record):",
        "        with self.mutex:",
        "            if record.msg == '%s':",
        "                apps.pass_gate(*record.args)",
        "logger = logging.getLogger()",
        "logger.addHandler(Locked())",
        "apps.COMMANDS['complain'] = lambda path: logger.error('%s', path) or 'said'",
    )
    with serving(*application.arguments, "-b", TCP, "-w", "1", *NAMED) as master:
        question = Question(master.bind(), f"complain {gate.path}")
        visitor = gate.visitor()
        assert " in pass_gate" in steer("dump", "1").out
        master.wait_for("the stacks of this worker")
        visitor.let_pass()
        assert question.answer() == "said"


def test_a_worker_that_is_stopped_or_hears_nothing_is_said_to_be(gate: Gate) -> None:
    """In one line, and nobody waits for it."""
    with serving(STREAM, "-b", TCP, "-w", "1", *NAMED) as master:
        question = Question(master.bind(), f"deaf {gate.path}")
        visitor = gate.visitor()
        deaf = steer("dump", "1")
        assert deaf.code == 3
        assert "does not answer: it hears no signals" in deaf.err
        os.kill(visitor.pid, signal.SIGSTOP)
        stopped = steer("dump", "1")
        os.kill(visitor.pid, signal.SIGCONT)
        assert "is stopped, by a signal or a debugger" in stopped.err
        visitor.let_pass()
        question.answer()
        master.kill(visitor.pid)  # it will never hear that it should leave


def test_threads_are_not_read_by_a_signal(gate: Gate) -> None:
    """Which could crash them: a worker with threads that is stuck in C is left in peace."""
    with serving(STREAM, "-b", TCP, "-w", "1", "--threads", "2", *NAMED) as master:
        stuck = Question(master.bind(), f"stuck-in-c {gate.path}")
        gate.visitor()
        outcome = steer("dump", "1")
        assert outcome.code == 3
        assert "it is stuck in C, and has threads" in outcome.err
        assert steer("stop", "--now").code == 0
        assert stuck.is_lost()
        master.expect_exit(5)


def test_the_stacks_of_who_is_killed_are_one_record(gate: Gate, tmp_path: Path) -> None:
    """Also where no Python code of it runs: the master tells what the C handler wrote."""
    path, bind = tmp_path / "log", free_port()
    flags = ["--log-file", str(path), "--log-format", "json", "--request-hard", "1s", "--quick-timeout", "200ms"]
    with Master(STREAM, "-b", bind, "-w", "1", *flags):
        look_until(lambda: path.exists() and "generation 1 serves" in path.read_text(), "it serves")
        stuck = Question(bind, f"stuck-in-c {gate.path}")
        pid = gate.visitor().pid
        assert stuck.is_lost()
        look_until(lambda: "is killed" in path.read_text(), "it is killed")
    (told,) = [line for line in read_json(path) if line.get("event") == "stacks"]
    assert told["stack"].count(" in _stuck_in_c") == 1
    assert (told["service"], told["slot"], told["worker_pid"]) == ("apps", 1, pid)


# what is printed


def test_what_workers_print_is_in_the_log_with_their_slot(application: Application, tmp_path: Path) -> None:
    """By Python as records; by a program that they start, as it is."""
    path, bind = tmp_path / "log", free_port()
    shout = "from tests.end_to_end import apps; apps.COMMANDS['shout'] = lambda rest: print('heard', rest)"
    application.write("1", shout + " or os.system('echo a program') or 'said'")
    flags = ["--log-file", str(path), "--capture-output"]
    with Master(*application.arguments, "-b", bind, "-w", "1", *flags) as master:
        look_until(lambda: path.exists() and "generation 1 serves" in path.read_text(), "it serves")
        assert ask(bind, "shout this") == "said"
        look_until(lambda: "heard this" in path.read_text(), "it is told")
        master.stop()
    (line,) = [line for line in path.read_text().splitlines() if "heard this" in line]
    assert " INFO shop/shop worker 1 g1 [" in line
    assert "a program\n" in path.read_text()
    assert not master.lines("heard this")


def test_what_was_printed_at_import_without_an_end_is_told_once(application: Application) -> None:
    """By the mold, and no worker's line begins with it."""
    greet = "apps.COMMANDS['greet'] = lambda rest: print('hello') or 'said'"
    application.write("1", "print('importing', end=' ')", greet)
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "2", "--capture-output") as master:
        assert ask(master.bind(), "greet") == "said"
        assert master.wait_for("hello").endswith("] hello")
        (line,) = master.lines("importing")
        assert "/shop mold g1 [" in line


# collectors


@needs_rsyslogd
def test_a_real_syslog_gets_the_log(short_path: Path) -> None:
    """With facility and severity, from master and workers."""
    log, conf, device = short_path / "out", short_path / "conf", short_path / "dev"
    conf.write_text(
        f'module(load="imuxsock" SysSock.Use="off")\ninput(type="imuxsock" Socket="{device}")\n'
        'template(name="t" type="string" string="%syslogfacility-text%.%syslogseverity-text% %syslogtag%%msg%\\n")\n'
        f'action(type="omfile" file="{log}" template="t")\n'
    )

    @contextlib.contextmanager
    def rsyslogd() -> Iterator[None]:
        command = ["rsyslogd", "-n", "-f", str(conf), "-i", str(short_path / "pid")]
        daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            look_until(device.exists, "rsyslogd listens")
            yield
        finally:
            daemon.terminate()
            daemon.wait()

    flags = ["--log-to", "syslog", f"--log-syslog-to=unix:{device}", "--log-syslog-facility", "local1"]
    bind = free_port()
    with rsyslogd(), Master(STREAM, "-b", bind, "-w", "1", *NAMED, *flags):
        look_until(lambda: log.exists() and "generation 1 serves" in log.read_text(), "it is there")
        assert Question(bind, "raise it").is_lost()
        look_until(lambda: "ValueError: it" in log.read_text(), "and so is a worker's")
        lines = log.read_text().splitlines()
        assert any(line.startswith(f"local1.info {NAMED[1]}[") for line in lines)
        assert any(line.startswith("local1.err ") and "apps worker 1 g1: the handler failed" in line for line in lines)


_WITH_JOURNALD = """
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal
%s & journald=$!
while [ ! -S %s ]; do :; done
"$@"; code=$?
kill $journald; wait $journald; exit $code
"""


@needs_journald
def test_a_real_journald_gets_the_log_as_fields(tmp_path: Path) -> None:
    """Each record with who wrote it; one beyond a datagram's size as well."""
    program = tmp_path / "program.py"
    program.write_text(
        "import logging, subprocess, sys, time, json\n"
        "from prefork.system.logline import Who\n"
        "from prefork.system.logs import Logs, set_up\n"
        "log = set_up(Logs(to='journald'), Who('worker', 'shop-journal', 'echo', 2, 3))\n"
        "logging.warning('short', extra={'event': 'worker-exited'})\n"
        "logging.error('x' * 500_000)\n"
        "read = ['journalctl', '-D', '/run/log/journal', '-o', 'json', '--all', 'SYSLOG_IDENTIFIER=shop-journal']\n"
        "while len(lines := subprocess.run(read, capture_output=True, text=True).stdout.splitlines()) < 2: pass\n"
        "print('\\n'.join(lines))\n"
    )
    script = _WITH_JOURNALD % (JOURNALD, JOURNAL)
    command = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, str(program)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    short, long = (json.loads(line) for line in done.stdout.splitlines())
    told = {key: short[key] for key in short if key.startswith("PREFORK_")}
    assert told == {
        "PREFORK_INSTANCE": "shop-journal",
        "PREFORK_SERVICE": "echo",
        "PREFORK_PROCESS": "worker",
        "PREFORK_SLOT": "2",
        "PREFORK_GENERATION": "3",
        "PREFORK_EVENT": "worker-exited",
    }
    assert (short["PRIORITY"], short["MESSAGE"]) == ("4", "echo worker 2 g3: short")
    assert (long["PRIORITY"], long["MESSAGE"]) == ("3", "echo worker 2 g3: " + "x" * 500_000)


def test_a_collector_that_is_not_there_is_one_line(short_path: Path) -> None:
    """Before anything is touched, with exit 2."""
    flags = ["--log-to", "syslog", "--log-syslog-to", f"unix:{short_path}/nobody"]
    with Master(STREAM, "-b", TCP, *flags) as master:
        assert master.exit_code() == 2
        assert master.lines("log_to: there is no syslog at unix:")


class Collector:
    """Somebody who takes records at ``path`` while the block lasts; then nobody is there."""

    def __init__(self, path: Path) -> None:
        self.lines: list[str] = []
        self._path = path

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._path.unlink()
        self._socket.shutdown(socket.SHUT_RD)
        self._reader.join()
        self._socket.close()

    def _read(self) -> None:
        while datagram := self._socket.recv(1 << 16):
            self.lines.append(datagram.decode())

    def wait_for(self, *texts: str) -> str:
        """The first line with all of them."""
        look_until(lambda: any(self._found(texts)), f"{texts} in a line")
        return next(line for line in list(self.lines) if all(text in line for text in texts))

    def _found(self, texts: tuple[str, ...]) -> Iterator[bool]:
        return (all(text in line for text in texts) for line in list(self.lines))


def test_a_service_lives_on_without_its_collector(short_path: Path) -> None:
    """It reloads, replaces a mold and its admin process, and upgrades; who comes back is told how much was lost."""
    device, bind, admin = short_path / "dev", free_port(), free_port()
    flags = ["--log-to", "syslog", f"--log-syslog-to=unix:{device}", "--admin", admin]
    with contextlib.ExitStack() as until_gone:
        collector = until_gone.enter_context(Collector(device))
        with Master(STREAM, "-b", bind, "-w", "1", *NAMED, *flags) as master:
            collector.wait_for("generation 1 serves")
            until_gone.close()

            assert steer("reload").code == 0
            lost = master.mold()
            master.kill(lost)
            look_until(lambda: lost not in _pids(master, "mold") != set(), "the mold is replaced")
            assert ask(bind, "hello") == "HELLO"
            (process,) = _pids(master, "admin")
            master.kill(process)
            look_until(lambda: process not in _pids(master, "admin") != set(), "the admin process is replaced")
            assert fetch(admin, "/healthz").status == 200
            assert steer("upgrade").code == 0
            assert fetch(admin, "/healthz").status == 200
            assert status()["admin_restarts"] == 1

            with Collector(device) as collector:
                assert Question(bind, "raise it").is_lost()
                collector.wait_for(": the handler failed")
                master.stop()
        collector.wait_for(f"[{master.pid}]: ", " records before this one were lost: nobody took them")
        collector.wait_for("stopped, exit 0")


def _pids(master: Master, kind: str) -> set[int]:
    return {process.pid for process in master.processes(kind) if not process.is_zombie}
