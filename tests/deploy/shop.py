"""The service ``shop`` in a machine, under the units of deploy/systemd: installed, asked, and broken by a test.

    with installed(machine) as shop:
        shop.start()
        with shop.load() as load: ...

Its application is the one of the end-to-end tests, so it answers lines and holds requests at a gate.
It must not know what systemd or the master ought to do: it acts and looks. Invariant: what a test leaves running is
stopped after it, and a failure shows what the journal has of it.
Read next: ``nspawn.py``, the machine; ``tests/end_to_end/load.py``, the clients that count.
"""

import contextlib
import ctypes
import os
import re
import signal
from collections.abc import Iterator

from tests.deploy.nspawn import Machine
from tests.deploy.roots import HOME
from tests.end_to_end.clients import Question, ask
from tests.end_to_end.harness import ROOT, Gate, Visitor, Watched, look_until
from tests.end_to_end.load import Load

UNITS = ROOT / "deploy" / "systemd"
SERVICE = "shop.service"
SOCKET = "shop.socket"
URL = "tcp://127.0.0.1:9000"
WORKERS = 3
PREFORK = f"{HOME}/bin/prefork"

_CONFIG = """
name = "shop"
{instance}
[service.shop]
target = "shop:Handler"
worker_start = "shop:start"
bind = ["{bind}"]
workers = {workers}
graceful_timeout = "{graceful_timeout}"
"""
_CODE = """
import apps
def start(worker):
    pass
{statements}
class Handler(apps.Stream):
    version = {version!r}
"""
GATE = "/srv/shop/gate"  # in the machine

_PTRACE_ATTACH = 16
_WALL = 0x40000000  # wait for whoever is traced, ptrace(2)


@contextlib.contextmanager
def installed(machine: Machine) -> Iterator["Shop"]:
    """Units, configuration and application are there; nothing runs yet."""
    machine.write("/srv/shop/apps.py", (ROOT / "tests/end_to_end/apps.py").read_text())
    path = machine.path(GATE)
    path.unlink(missing_ok=True)
    with Gate(path) as gate:
        path.chmod(0o666)  # the application is somebody else
        shop = Shop(machine, gate)
        shop.configure()
        shop.deploy("1")
        shop.unit(SOCKET)
        shop.unit(SERVICE)
        try:
            yield shop
        finally:
            print(shop.journal())
            machine.run("systemctl", "stop", SOCKET, SERVICE)
            machine.run("systemctl", "reset-failed")
    look_until(lambda: not machine.processes(SERVICE), "no process of the service is left")


class Shop:
    """:param machine: the units and the application are written there."""

    def __init__(self, machine: Machine, gate: Gate) -> None:
        self.machine = machine
        self.gate = gate
        self._held: list[Visitor] = []
        self._since = machine.cursor()

    # what an operator writes

    def unit(self, name: str, **settings: str) -> None:
        """Install a unit of ours; of its settings these have other values, and one without a value is left out."""
        text = (UNITS / name).read_text()
        for setting, value in settings.items():
            text, count = re.subn(rf"(?m)^#?{setting}=.*\n", f"{setting}={value}\n" * bool(value), text)
            assert count == 1, f"{setting} stands in {count} lines of {name}"
        self.machine.write(f"/etc/systemd/system/{name}", text)
        self.machine.systemctl("daemon-reload")

    def own_listener(self, bind: str, **settings: str) -> None:
        """Let the master open the listener itself, without a socket unit."""
        self.unit(SERVICE, Requires="", **settings)
        self.configure(bind=bind)

    def configure(self, bind: str = "systemd:shop", graceful_timeout: str = "30s", instance: str = "") -> None:
        """:param instance: further settings of the instance, as TOML."""
        text = _CONFIG.format(bind=bind, workers=WORKERS, graceful_timeout=graceful_timeout, instance=instance)
        self.machine.write("/etc/prefork/shop.toml", text)

    def deploy(self, version: str, *statements: str) -> None:
        """Install an application that answers this version; ``statements`` in its module may use ``apps``."""
        code = _CODE.format(version=version, statements="\n".join(statements))
        self.machine.write("/srv/shop/shop.py", code)

    # what an operator asks

    def show(self, name: str, unit: str = SERVICE) -> str:
        return self.machine.show(unit, name)

    def master(self) -> int:
        """Its pid, as the machine counts."""
        return int(self.show("MainPID"))

    def kill(self, name: str) -> None:
        """Signal the master."""
        self.machine.systemctl("kill", "--kill-whom=main", f"--signal={name}", SERVICE)

    def hang(self) -> None:
        """Hold the master as a debugger does: it hears no signal but KILL. Collected with ``wait_killed``."""
        self._hung = self.machine.our_pid(self.master(), SERVICE)
        if ctypes.CDLL(None, use_errno=True).ptrace(_PTRACE_ATTACH, self._hung, None, None) != 0:
            raise OSError(ctypes.get_errno(), "the master cannot be traced")
        os.waitpid(self._hung, _WALL)

    def wait_killed(self) -> None:
        """The master that hangs is killed; its death becomes known to its parent when we have seen it."""
        with Watched([self._hung]) as hung:
            hung.wait_all()
        _, status = os.waitpid(self._hung, _WALL)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL

    def wait_restarted(self, dead: int) -> None:
        look_until(lambda: self.master() not in (0, dead), "another master has been started")

    def journal(self) -> str:
        """What the service, and systemd about it, have said in this test."""
        return self.machine.journal(SERVICE, after=self._since)

    def wait_status(self, text: str) -> None:
        """Until the line in ``systemctl status`` is this one, or begins so."""
        look_until(lambda: self.show("StatusText").startswith(text), f"the status is {text!r}")

    # what clients do

    def ask(self, request: str) -> str:
        with self.machine.network():
            return ask(URL, request)

    @contextlib.contextmanager
    def load(self, url: str = URL) -> Iterator[Load]:
        """Clients in the network of the machine, where the test is too meanwhile."""
        with self.machine.network(), Load(url, clients=4, processes=1) as load:
            yield load

    def hold(self, count: int) -> list[Question]:
        """Requests under way, until they are let go."""
        with self.machine.network():
            questions = [Question(URL, f"hold {GATE}") for _ in range(count)]
        self._held += self.gate.visitors(count)
        return questions

    def let_go(self, questions: list[Question]) -> None:
        """Let those who are held finish; each is answered."""
        for visitor in self._held:
            visitor.let_pass()
        self._held.clear()
        assert all(question.answer().isdigit() for question in questions)
