"""A container engine with a store of its own, the image of ``deploy/container``, and a master inside a container.

    with Podman() as podman:
        podman.build(...)
        with Container(podman, "-c", "/etc/prefork/shop.toml") as master:
            master.wait_serving()

The image stands on a bare root made from the mirror, without a registry; it has no shell, so whatever needs one fails.
It must not know what is tested. Invariant: when the engine is closed nothing of it is left, whatever happened.
Read next: ``test_containers.py``; ``tests/end_to_end/harness.py``, the master that is not in a container.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.end_to_end.harness import ROOT, Master, Process, all_processes

SUITE, PYTHON = "bookworm", "3.11"  # of the base, which has this version of Python
BASE, IMAGE = "localhost/base", "localhost/shop"
CONTEXT = ROOT / "deploy/container"
PARTS = ("podman", "runc", "mmdebstrap")

# what deploy/container/compose.yaml asks for as well
HARDENED = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--pids-limit", "128")

_CONTAINERS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{0}/tmp"
[network]
network_backend = "cni"
network_config_dir = "{0}/networks"
"""
_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{0}/store"
runroot = "{0}/run"
"""


def missing() -> list[str]:
    """The parts that are not installed here, or not allowed to work."""
    return [part for part in PARTS if shutil.which(part) is None] + ([] if os.geteuid() == 0 else ["root"])


class Podman:
    """Keeps all it has in memory, below a short path, for it makes sockets there."""

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=755", "tmpfs", self.directory], check=True)
        (self.directory / "networks").mkdir()
        for name, text in (("containers.conf", _CONTAINERS), ("storage.conf", _STORAGE)):
            (self.directory / name).write_text(text.format(self.directory))
        self.environ = {
            "CONTAINERS_CONF": f"{self.directory}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.directory}/storage.conf",
        }
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self("rm", "--all", "--force", "--time", "0")
        finally:
            subprocess.run(["umount", "--recursive", "--lazy", self.directory], check=True)
            self.directory.rmdir()

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["podman", *arguments],
            env={**os.environ, **self.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, *arguments: str) -> tuple[int, str]:
        """The exit code, and what was printed; what the engine says of itself is not the answer."""
        process = self.start(*arguments)
        out, err = process.communicate()
        own = [line for line in err.splitlines() if not line.startswith("time=")]
        return process.returncode, "\n".join([out.rstrip("\n"), *own]).strip("\n")

    def __call__(self, *arguments: str) -> str:
        """:raises AssertionError: it failed."""
        code, text = self.ask(*arguments)
        assert code == 0, f"podman {' '.join(arguments)}: exit {code}: {text}"
        return text

    def inspect(self, thing: str) -> Any:
        return json.loads(self("inspect", thing))[0]

    # images

    def make_base(self, cache: Path) -> None:
        """A root with Python and what that needs, and nothing else; fetched once."""
        tar = cache / f"{SUITE}-python-pip.tar"
        if not tar.exists():
            fresh = self.directory / tar.name
            command = ["mmdebstrap", "--quiet", "--variant=extract", "--include=python3-pip", SUITE, str(fresh)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            shutil.move(fresh, tar)
        self("import", str(tar), BASE)

    def build(self, context: Path) -> None:
        """Build the image as anybody would, with the wheels in its context instead of a registry."""
        arguments = [f"BASE={BASE}", "PIP_NO_INDEX=1"]
        flags = [flag for argument in arguments for flag in ("--build-arg", argument)]
        self("build", "--network", "none", "--format", "docker", *flags, "--tag", IMAGE, str(context))


def fill_context(directory: Path, config: str) -> None:
    """What the Containerfile wants beside itself: the code, its settings, and wheels of all that is installed."""
    shutil.copytree(CONTEXT, directory, dirs_exist_ok=True)
    shutil.copy(ROOT / "examples/orders.py", directory / "shop.py")
    (directory / "prefork.toml").write_text(config)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = str(directory)
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, str(ROOT)], check=True)
    wanted = ["--only-binary=:all:", "--python-version", PYTHON, "--find-links", wheels, "--dest", wheels]
    subprocess.run([*pip, "download", *wanted, "prefork[metrics]"], check=True)


class Container(Master):
    """A master as the first process of a container. Signals to it go through the engine, as ``podman kill`` sends them.

    :param arguments: what follows ``prefork run``.
    :param flags: of ``podman run``, beside those that harden it.
    :param environ: inside.
    """

    def __init__(
        self, podman: Podman, *arguments: str, flags: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> None:
        self.podman = podman
        self.name = f"shop-{os.getpid()}"
        settings = [flag for name, value in (environ or {}).items() for flag in ("--env", f"{name}={value}")]
        command = ["podman", "run", "--name", self.name, *HARDENED, *flags, *settings, IMAGE]
        env = [f"{name}={value}" for name, value in podman.environ.items()]
        # the engine's monitor notes a want of memory in a file of the directory it was started in
        super().__init__(*arguments, cwd=podman.directory, prefix=["env", *env], command=command)

    def __enter__(self) -> Self:
        super().__enter__()
        self.wait_for("listening on ")
        self.first: int = self.podman.inspect(self.name)["State"]["Pid"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self.podman("rm", "--force", "--time", "0", self.name)

    def processes(self, kind: str = "") -> list[Process]:
        """As this side of the container sees them."""
        inside = os.readlink(f"/proc/{self.first}/ns/pid") if self.is_running() else "none"
        found = [process for process in all_processes() if _pid_namespace(process.pid) == inside]
        return [process for process in found if not kind or process.kind == kind]

    def children(self) -> list[Process]:
        return [process for process in self.processes() if process.parent == self.first]

    def reachable(self, port: int) -> str:
        """The URL of a port of the container, from here: by its own address, where it has one."""
        networks = self.podman.inspect(self.name)["NetworkSettings"]
        return f"tcp://{networks['IPAddress'] or '127.0.0.1'}:{port}"

    def prefork(self, *arguments: str) -> tuple[int, str]:
        """A command of ours, inside."""
        return self.podman.ask("exec", self.name, "/opt/prefork/bin/prefork", *arguments)

    def status(self) -> dict[str, Any]:
        """Of its only service."""
        code, text = self.prefork("status", "--json")
        assert code == 0, text
        (service,) = json.loads(text)["services"]
        return dict(service)

    def is_healthy(self) -> bool:
        """Whether the image's own check says so; without a timer of systemd the engine runs it when it is told to."""
        return self.podman.ask("healthcheck", "run", self.name)[0] == 0

    def last_check(self) -> str:
        """What the check said."""
        log = self.podman.inspect(self.name)["State"]["Health"]["Log"]
        return str(log[-1]["Output"]).strip()


def _pid_namespace(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/pid")
    return ""
