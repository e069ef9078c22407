"""The admin process: what it answers through the life of a service, and how it comes and goes."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from prefork.control.client import connect, find
from prefork.control.messages import Pause, Resume
from tests.end_to_end.clients import LIMIT, Question, ask, is_refused
from tests.end_to_end.harness import ROOT, STREAM, TCP, Application, Gate, Master, look_until, serving
from tests.end_to_end.http import Feed, fetch
from tests.end_to_end.installation import Installation
from tests.end_to_end.test_idle import let_time_pass, settled, switches

FLAGS = ("-b", TCP, "-w", "2", "--admin", TCP)
READY = (200, "ready")


def admin_of(master: Master) -> str:
    """Where the admin process listens."""
    return master.bind(service="admin")


def pid_of(master: Master) -> int:
    """Its pid, once it has its title."""
    found: list[int] = []

    def is_there() -> bool:
        found[:] = [process.pid for process in master.processes("admin") if not process.is_zombie]
        return len(found) == 1

    look_until(is_there, "there is one admin process")
    return found[0]


def answer(url: str, path: str) -> tuple[int, str]:
    reply = fetch(url, path)
    return reply.status, reply.text


def readyz(master: Master) -> tuple[int, str]:
    return answer(admin_of(master), "/readyz")


def wait_readyz(master: Master, status: int, text: str) -> None:
    """What it says is at most a second old."""
    look_until(lambda: readyz(master)[0] == status and text in readyz(master)[1], f"readyz says {status} {text}")


def test_every_page_is_there_and_nothing_else(gate: Gate) -> None:
    """GET and HEAD of what is documented; anything else is one line that says what would be right."""
    with serving(STREAM, *FLAGS, "-n", "shop") as master:
        url = admin_of(master)
        assert (fetch(url, "/healthz").status, readyz(master)) == (200, READY)
        page = fetch(url, "/?from=a#bookmark")
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert page.body == (ROOT / "prefork/admin/page.html").read_bytes()
        head = fetch(url, "/", "HEAD")
        assert (head.body, head.headers["content-length"]) == (b"", str(len(page.body)))
        status = fetch(url, "/status")
        assert (status.headers["content-type"], status.headers["cache-control"]) == ("application/json", "no-store")
        plain = status.json()
        assert (plain["name"], plain["pid"], plain["admin"], plain["admin_restarts"]) == ("shop", master.pid, [url], 0)
        assert {p["kind"]: p["pid"] for p in plain["processes"]}["admin"] == pid_of(master)
        assert plain["memory"]["unread"] == 0
        for path in ("/nothing", "/../etc/passwd", "/status/"):
            missing = fetch(url, path)
            assert (missing.status, missing.text) == (
                404,
                "there is /, /status, /metrics, /healthz, /readyz, /feed",
            )
        for method in ("POST", "DELETE", "OPTIONS", "get"):
            refused = fetch(url, "/", method)
            assert (refused.status, refused.headers["allow"], refused.body.count(b"\n")) == (405, "GET, HEAD", 1)
        (process,) = master.processes("admin")
        assert process.title == "prefork: admin shop"


def test_the_feed_tells_each_second_what_is() -> None:
    """The first status at once; then one a second, with new figures."""
    with serving(STREAM, *FLAGS) as master, Feed(admin_of(master)) as feed:
        assert feed.headers["content-type"] == "text/event-stream"
        first = feed.wait_for("status")
        assert int(feed.retry) > 0
        assert ask(master.bind(), "hello") == "HELLO"
        while feed.wait_for("status")["services"][0]["requests"] == 0:
            pass
        assert first["services"][0]["requests"] == 0


def test_readyz_goes_with_the_life_of_the_service(application: Application, gate: Gate) -> None:
    """Not while it starts, degrades or drains; also while it reloads; the master answers all the time."""
    application.write("1", f"apps.pass_gate({gate.path!r})")
    with Master(*application.arguments, *FLAGS, "--max-surge", "1") as master:
        visitor = gate.visitor()
        assert readyz(master) == (503, "shop: starting")
        visitor.let_pass()
        master.wait_serving()
        wait_readyz(master, *READY)
        master.signal(signal.SIGHUP)
        visitor = gate.visitor()
        with Feed(admin_of(master)) as feed:
            while feed.wait_for("status")["services"][0]["phase"] != "reloading":
                pass
        assert readyz(master) == READY
        visitor.let_pass()
        master.wait_serving(generation=2)
        held = Question(master.bind(), f"hold {gate.path}")
        visitor = gate.visitor()
        master.signal(signal.SIGTERM)
        master.wait_for("stopping")
        wait_readyz(master, 503, "shop: stopping")
        assert fetch(admin_of(master), "/healthz").status == 200
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        master.expect_exit(0)


def test_readyz_says_why_a_service_is_degraded(application: Application) -> None:
    """Workers that die before they are ready."""
    application.write("1", "def start(worker): os.path.exists(__file__ + '.dies') and os._exit(3)")
    cause = Path(f"{application.path}.dies")
    with serving(*application.arguments, *FLAGS, "--worker-start", "shop:start") as master:
        cause.touch()
        master.kill(master.workers()[1])
        wait_readyz(master, 503, "shop: degraded: ")


def test_a_reload_leaves_it_and_its_end_is_a_restart(application: Application) -> None:
    """The master notices nothing more: a line, a count, and another process at the same address."""
    application.write("1")
    with serving(*application.arguments, *FLAGS) as master:
        url, first = admin_of(master), pid_of(master)
        master.signal(signal.SIGHUP)
        master.wait_serving(generation=2)
        assert pid_of(master) == first
        master.kill(first)
        master.wait_for(f"admin: process {first} was killed by SIGKILL; the next is started at once")
        assert fetch(url, "/status").json()["admin_restarts"] == 1
        assert pid_of(master) != first


def test_an_upgrade_brings_the_new_version(tmp_path: Path) -> None:
    """At the same address, and it is no restart; whoever comes meanwhile waits in the queue."""
    installation = Installation(tmp_path)
    with installation.serving(*FLAGS) as master:
        url, first = admin_of(master), pid_of(master)
        installation.become("0.2.0")
        master.signal(signal.SIGUSR2)
        master.wait_serving(generation=2)
        reply = fetch(url, "/status")
        assert reply.headers["server"] == "prefork/0.2.0"
        assert (reply.json()["package"], reply.json()["admin_restarts"]) == ("0.2.0", 0)
        assert pid_of(master) != first
        assert master.lines("goes on from version")


def test_without_a_control_socket_it_looks_all_the_same(short_path: Path) -> None:
    """It needs no name and no permission. Its own socket is a path, with the mode that was asked for."""
    admin = f"unix:{short_path}/admin?mode=0600"
    with serving(STREAM, "-b", TCP, "--control", "none", "--admin", admin):
        assert fetch(f"unix:{short_path}/admin", "/status").json()["admin"] == [admin]
        assert (short_path / "admin").stat().st_mode & 0o777 == 0o600
        assert fetch(f"unix:{short_path}/admin", "/healthz").status == 200
    assert not (short_path / "admin").exists()


def test_an_address_that_is_taken_is_exit_4(short_path: Path) -> None:
    """One line, and nothing is left, also of the services."""
    with serving(STREAM, *FLAGS) as first:
        bind = f"unix:{short_path}/service"
        with Master(STREAM, "-b", bind, "--admin", admin_of(first)) as second:
            second.expect_exit(4)
            assert second.lines(f"admin: cannot listen on {admin_of(first)}: address already in use")
        assert not (short_path / "service").exists()


def test_without_the_package_for_metrics_all_else_is_there(tmp_path: Path) -> None:
    """A warning at the start, and the remedy where metrics are asked for."""
    (tmp_path / "prometheus_client").mkdir()
    (tmp_path / "prometheus_client" / "__init__.py").write_text("raise ImportError('not here')")
    with Master(STREAM, *FLAGS, pythonpath=Path(f"{tmp_path}:{ROOT}")) as master:
        master.wait_for("WARNING")
        reply = fetch(admin_of(master), "/metrics")
        assert (reply.status, reply.body.count(b"\n")) == (501, 1)
        assert "install prefork[metrics]" in reply.text
        assert fetch(admin_of(master), "/healthz").status == 200
        assert len(master.lines("install prefork[metrics]")) == 1


def test_a_new_log_file_is_its_own_too(tmp_path: Path) -> None:
    """After USR1 it holds the new file, and not the old one; also where it was told before it could hear."""
    path = tmp_path / "log"
    with Master(STREAM, *FLAGS, "--log-file", str(path)) as master:
        look_until(lambda: path.exists() and "admin: listening" in path.read_text(), "the log is there")
        look_until(lambda: bool(master.processes("admin")), "the admin process is there")
        path.rename(tmp_path / "old")
        master.signal(signal.SIGUSR1)
        look_until(path.exists, "the log is opened anew")
        pid = pid_of(master)

        def held() -> list[str]:
            found = []
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
            return found

        look_until(lambda: str(path) in held() and str(tmp_path / "old") not in held(), "it holds the new one")
        look_until(lambda: "generation 1 serves" in (path.read_text() + (tmp_path / "old").read_text()), "it serves")


def test_with_nobody_watching_it_does_not_wake() -> None:
    """Whoever was there has gone: no context switch in any thread of it, and nobody asks the master."""
    with serving(STREAM, *FLAGS) as master:
        with Feed(admin_of(master)) as feed:
            feed.wait_for("status")
        assert fetch(admin_of(master), "/metrics").status == 200
        before = settled(master)
        assert any("admin" in who for who in before)
        let_time_pass(1.0)
        assert switches(master) == before


def test_it_ends_with_its_master() -> None:
    """Killed, the master can tell nobody; the kernel does."""
    with serving(STREAM, *FLAGS) as master:
        pid = pid_of(master)
        url = admin_of(master)
        master.kill(master.pid)
        look_until(lambda: not Path(f"/proc/{pid}").exists() or pid not in living(master), "the admin process is gone")
        look_until(lambda: is_refused(url), "nobody listens any more")
        master.wait_for_end_of_log()


def living(master: Master) -> set[int]:
    return {process.pid for process in master.processes() if not process.is_zombie}


def test_a_silent_master_is_told_as_such() -> None:
    """Health says so, metrics say ``prefork_up 0``, and all is well again when it goes on."""
    with serving(STREAM, *FLAGS) as master:
        url = admin_of(master)
        assert fetch(url, "/healthz").status == 200
        os.kill(master.pid, signal.SIGSTOP)
        try:
            silence = (503, "the master has not answered for 2 s")
            look_until(lambda: answer(url, "/healthz") == silence, "its last answer is old")
            assert samples(fetch(url, "/metrics").text) == {("prefork_up", ()): 0.0}
        finally:
            os.kill(master.pid, signal.SIGCONT)
        look_until(lambda: fetch(url, "/healthz").status == 200, "it answers again")


# metrics


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str, kinds: tuple[str, ...] = ("counter", "gauge", "histogram")) -> Samples:
    """The value of each sample by its name and labels."""
    families = [family for family in text_string_to_metric_families(text) if family.type in kinds]
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def counters(master: Master) -> Samples:
    return samples(fetch(admin_of(master), "/metrics").text, ("counter", "histogram"))


def reload(master: Master) -> None:
    master.signal(signal.SIGHUP)
    master.wait_serving(generation=2)


def test_no_counter_goes_back(tmp_path: Path, gate: Gate) -> None:
    """Whoever dies, is replaced, reloaded or upgraded: the master and the admin process among them."""
    installation = Installation(tmp_path)

    def upgrade(master: Master) -> None:
        installation.become("0.2.0")
        master.signal(signal.SIGUSR2)
        master.wait_serving(generation=3)

    changes: list[Callable[[Master], None]] = [
        lambda master: master.kill(max(master.workers().values())),
        lambda master: master.kill(pid_of(master)),
        reload,
        upgrade,
    ]
    with installation.serving("-b", TCP, "-w", "2", "--admin", TCP, "--max-requests", "40") as master:
        before = counters(master)
        for change in changes:
            for _ in range(50):
                assert ask(master.bind(), "hello") == "HELLO"
            change(master)
            with Feed(admin_of(master)) as feed:  # the next answer that is new
                feed.wait_for("status")
                feed.wait_for("status")
            now = counters(master)
            assert {key: (value, now.get(key)) for key, value in before.items() if now.get(key, -1.0) < value} == {}
            before = now
        service = (("service", "apps"),)
        assert before["prefork_requests_total", service] >= 200 - len(changes)  # who is killed may not have counted one
        assert before["prefork_request_duration_seconds_count", service] == before["prefork_requests_total", service]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_finds_nothing_to_object_to() -> None:
    """Names, units, types and help texts of a real scrape."""
    with serving(STREAM, *FLAGS, "-b", "unix:@admin-metrics") as master:
        ask(master.bind(), "hello")
        text = fetch(admin_of(master), "/metrics").body
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_feed_begins_with_what_happened() -> None:
    """The last hundred events, then each as it happens; a new admin process still knows them."""
    with serving(STREAM, *FLAGS) as master:
        url = admin_of(master)
        for _ in range(2):
            with Feed(url) as feed:
                serves = feed.wait_for("told")
                while serves["event"] != "generation-settled":
                    serves = feed.wait_for("told")
                assert (serves["service"], serves["generation"], serves["level"]) == ("apps", 1, "info")
                killed = max(master.workers().values())
                master.kill(killed)
                while (exited := feed.wait_for("told"))["pid"] != killed:
                    pass
                assert exited["event"] == "worker-exited"
            master.kill(pid_of(master))
            look_until(lambda: pid_of(master) != 0 and not is_refused(url), "the next is there")


def test_readyz_says_that_an_operator_lets_clients_wait() -> None:
    """Until they are accepted again."""
    with serving(STREAM, *FLAGS, "-n", "paused-shop") as master, connect(find("paused-shop"), LIMIT) as connection:
        list(connection.ask(Pause(service="apps")))
        wait_readyz(master, 503, "apps: paused by an operator")
        list(connection.ask(Resume(service="apps")))
        wait_readyz(master, *READY)
