"""A machine that systemd has booted: a container with a network of its own, whose units a test may start and break.

    with Machine(Path("/"), [installation]) as machine:
        machine.write("/etc/systemd/system/shop.service", unit)
        machine.systemctl("start", "shop.service")
        with machine.network():
            assert ask("tcp://127.0.0.1:9000", "hello") == "HELLO"

It must not know the product, nor what the test wants of its units.
Invariants: what is written in the machine is gone with it, and nothing of the root it stands on has changed; its mounts
live in a mount namespace that ends with it, so none is left even where the test was killed; systemd-nspawn is ended by
TERM alone, for killed it leaves its systemd behind; nothing here waits longer than LIMIT.
Read next: ``roots.py``, what it stands on; ``shop.py``, the service that is tried in it.
"""

import contextlib
import itertools
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from tests.end_to_end.clients import LIMIT
from tests.end_to_end.harness import look_until
from tests.end_to_end.network import network_of

CGROUPS = Path("/sys/fs/cgroup")
_number = itertools.count(1)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Arguments: the scratch directory, the root, the cgroups, what is copied, then the command. All of it in a mount
# namespace of its own; the root stays as it is, for what is written goes to a tmpfs. What is copied could not be a
# lower directory: where it lies below the root, the kernel refuses to lay the one over the other.
_BOOT = """
set -e
scratch=$1 root=$2 groups=$3 copied=$4; shift 4
for group in $groups; do echo $$ > "$group/cgroup.procs"; done
mount -t tmpfs -o mode=755 tmpfs "$scratch"
mkdir -m 755 "$scratch/upper" "$scratch/work" "$scratch/root"
for directory in $copied; do cp -a "$directory/." "$scratch/upper"; done
mount -t overlay -o "lowerdir=$root,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$scratch/root"
exec "$@"
"""


def missing() -> str:
    """What a machine cannot be booted without, by name; empty where nothing is missing."""
    if os.geteuid() != 0:
        return "root"
    programs = ("systemd-nspawn", "nsenter", "unshare", "setpriv")
    return ", ".join(program for program in programs if shutil.which(program) is None)


class Machine:
    """A root directory, booted.

    :param root: is only read.
    :param copied: directories whose contents lie over it.
    """

    def __init__(self, root: Path, copied: Sequence[Path] = ()) -> None:
        self._root = root
        self._copied = copied
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as resources:
            scratch = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="prefork-machine-")))
            self.name = f"prefork-{os.getpid()}-{next(_number)}"
            self._console = resources.enter_context((scratch / "console").open("w+"))
            (scratch / "tree").mkdir()
            groups = resources.enter_context(_own_cgroups(self.name))
            # closed once it is up: systemd would tell us of each job, and stop working where nobody listens
            with _bound(scratch / "notify") as news:
                self._nspawn = self._start(scratch, groups)
                resources.callback(self._nspawn.wait, timeout=LIMIT)
                self._pidfd = os.pidfd_open(self._nspawn.pid)
                resources.callback(os.close, self._pidfd)
                self.leader = 0
                resources.callback(self._end)
                self._wait_booted(news)
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    def _start(self, scratch: Path, groups: Sequence[Path]) -> "subprocess.Popen[bytes]":
        nspawn = ["systemd-nspawn", "--boot", f"--directory={scratch}/tree/root", f"--machine={self.name}"]
        nspawn += ["--register=no", "--keep-unit", "--link-journal=no"]  # no systemd need run on the host
        nspawn += ["--private-network", "--console=pipe", "--notify-ready=yes", "systemd.unit=basic.target"]
        lists = [groups, self._copied]
        # TERM is what the machine gets where the tests are killed and nobody is left to end it
        apart = ["unshare", "--mount", "--propagation=private", "setpriv", "--pdeathsig=TERM"]
        return subprocess.Popen(
            [*apart, "sh", "-c", _BOOT, "boot", f"{scratch}/tree", str(self._root), *map(_words, lists), *nspawn],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={"PATH": PATH, "NOTIFY_SOCKET": f"{scratch}/notify", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )

    def _wait_booted(self, news: socket.socket) -> None:
        """What nspawn tells, in words of sd_notify(3): first the pid of the machine's systemd, then that it is up."""
        while True:
            readable, _, _ = select.select([news.fileno(), self._pidfd], [], [], LIMIT)
            if news.fileno() not in readable:
                how = "ended" if readable else f"did not boot within {LIMIT:g} s"
                raise AssertionError(f"the machine {how}\n{self.console()}")
            told = dict(line.split("=", 1) for line in news.recv(4096).decode().splitlines())
            self.leader = int(told.get("X_NSPAWN_LEADER_PID", self.leader))
            if told.get("READY") == "1":
                return

    def _end(self) -> None:
        """Halt it; one that does not halt loses its first process, and nspawn ends by itself."""
        self._nspawn.send_signal(signal.SIGTERM)
        if not select.select([self._pidfd], [], [], LIMIT)[0] and self.leader:
            os.kill(self.leader, signal.SIGKILL)

    def console(self) -> str:
        self._console.seek(0)
        return f"--- console of {self.name}\n{self._console.read()}--- end of the console"

    # what is in it

    def path(self, path: str) -> Path:
        """A path of the machine, as we reach it."""
        return Path(f"/proc/{self.leader}/root/{path.lstrip('/')}")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    @contextlib.contextmanager
    def begin(self, *command: str) -> Iterator["subprocess.Popen[str]"]:
        """Run a command in the machine, as its root, while the test goes on; what it prints is one text."""
        with subprocess.Popen(
            ["nsenter", "--target", str(self.leader), "--all", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": PATH, "LANG": "C.UTF-8"},
        ) as begun:
            try:
                yield begun
            except BaseException:
                begun.kill()
                raise

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in the machine, as its root, to its end."""
        with self.begin(*command) as begun:
            printed, _ = begun.communicate(timeout=LIMIT)
        return subprocess.CompletedProcess(command, begun.returncode, printed)

    def expect(self, *command: str) -> str:
        """Run a command that must succeed: what it printed."""
        done = self.run(*command)
        assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}"
        return done.stdout

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """What the calling thread opens and starts here is in the machine's network."""
        with network_of(self.leader):
            yield

    # its systemd

    def version(self) -> int:
        return int(self.expect("systemctl", "--version").split()[1])

    def systemctl(self, *arguments: str) -> str:
        return self.expect("systemctl", *arguments)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.systemctl("show", "--value", f"--property={name}", unit).removesuffix("\n")

    def wait_show(self, unit: str, name: str, value: str) -> None:
        look_until(lambda: self.show(unit, name) == value, f"{name} of {unit} is {value}")

    def cursor(self) -> str:
        """Where the journal ends now."""
        return self.expect("journalctl", "--quiet", "--lines=0", "--show-cursor").rpartition("cursor: ")[2].strip()

    def journal(self, unit: str, after: str) -> str:
        """What the unit, and systemd about it, have said since."""
        only = (f"--unit={unit}", f"--after-cursor={after}")
        return self.expect("journalctl", "--quiet", "--no-pager", "--output=short-precise", *only)

    def processes(self, unit: str) -> list[int]:
        """Who is in the unit's cgroup, as pids of ours."""
        try:
            return [
                int(pid) for pid in self.path(f"/sys/fs/cgroup/system.slice/{unit}/cgroup.procs").read_text().split()
            ]
        except FileNotFoundError:  # nobody is, or has been
            return []

    def our_pid(self, pid: int, unit: str) -> int:
        """What we call the process that the machine calls ``pid``."""
        for ours in self.processes(unit):
            names = re.findall(r"^NSpid:\s+(.*)$", Path(f"/proc/{ours}/status").read_text(), re.MULTILINE)[0].split()
            if int(names[-1]) == pid:
                return ours
        raise AssertionError(f"no process {pid} is in {unit}")


def _words(paths: Sequence[Path]) -> str:
    return " ".join(map(str, paths))


@contextlib.contextmanager
def _own_cgroups(name: str) -> Iterator[list[Path]]:
    """Groups of this name where systemd has its own: two machines below one group would share their units."""
    trees = [tree for tree in (CGROUPS, CGROUPS / "systemd", CGROUPS / "unified") if (tree / "cgroup.procs").exists()]
    groups = [tree / name for tree in trees]
    for group in groups:
        group.mkdir()
    try:
        yield groups
    finally:
        for group in groups:
            for directory, _, _ in os.walk(group, topdown=False):
                os.rmdir(directory)


@contextlib.contextmanager
def _bound(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news:
        news.bind(str(path))
        yield news
