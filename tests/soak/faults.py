"""The faults: what is done to a service in production sooner or later, one function each.

A fault is done at once, or begun and undone later; it says what it may cost the requests of others. It must not wait.
Invariant: what a fault says it may cost is what the promises allow.
Read next: ``account.py``, where that is held against what was lost.
"""

import contextlib
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable

from tests.end_to_end.harness import Watched
from tests.soak.account import Price
from tests.soak.stage import KINDS, Kind, Stage

Fault = Callable[[Stage], list[Price]]
MOST_STOPPED = 2  # workers at a time, lest all of a service are
SOME_COUNT = 3  # how far a scale goes from the configured count


# kills


def kill_worker(stage: Stage) -> list[Price]:
    """SIGKILL of a worker"""
    kind = stage.chance.choice(KINDS)
    workers = stage.workers(kind)
    if not workers:
        return []
    _kill(stage.chance.choice(workers))
    return [Price(kind.name, kind.at_once, "killed")]


def kill_mold(stage: Stage) -> list[Price]:
    """SIGKILL of a mold"""
    molds = [process.pid for process in stage.master.processes("mold") if process.parent == stage.master.pid]
    if molds:
        _kill(stage.chance.choice(sorted(molds)))
    return []


def _kill(pid: int) -> None:
    """Unless it has gone by itself since it was seen: another fault may have sent it away."""
    with Watched([pid]) as seen:
        for living in seen.living():
            seen.kill(living)
        seen.wait_all()


# stops


def stop_worker(stage: Stage) -> list[Price]:
    """SIGSTOP of a worker, for a moment"""
    if len(stage.stopped) < MOST_STOPPED:
        workers = stage.workers(stage.chance.choice(KINDS))
        if len(workers) > 1:
            _stop(stage, stage.chance.choice(workers))
    return []


def stop_mold(stage: Stage) -> list[Price]:
    """SIGSTOP of a mold, for a moment"""
    molds = sorted(process.pid for process in stage.master.processes("mold"))
    if molds:
        _stop(stage, stage.chance.choice(molds))
    return []


def stop_master(stage: Stage) -> list[Price]:
    """SIGSTOP of the master, for a moment"""
    _stop(stage, stage.master.pid)
    return []


def _stop(stage: Stage, pid: int) -> None:
    def go_on() -> None:
        stage.stopped.discard(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        stage.stopped.add(pid)
        stage.later(stage.chance.uniform(0.05, 1.5), go_on)


# handlers


def end_process(stage: Stage) -> list[Price]:
    """a handler that ends its process: `os._exit`, SIGSEGV"""
    return _ask(stage, stage.chance.choice(["exit 9", "segfault"]), "dead of a neighbour's handler")


def raise_something(stage: Stage) -> list[Price]:
    """a handler that raises: an error, SystemExit, MemoryError"""
    _ask(stage, stage.chance.choice(["raise x", "system-exit x", "out-of-memory x"]), "")
    return []


def hang(stage: Stage) -> list[Price]:
    """a handler that waits for ever, or spins"""
    kind = stage.chance.choice([kind for kind in KINDS if kind.is_stream])
    _send(stage, kind, stage.chance.choice([f"hold {stage.gate.path}", f"spin {stage.gate.path}"]))
    return []


def hang_in_c(stage: Stage) -> list[Price]:
    """a handler stuck in C with the interpreter's lock"""
    return _ask(stage, f"stuck-in-c {stage.gate.path}", "killed with a stuck neighbour")


def _ask(stage: Stage, line: str, why: str) -> list[Price]:
    """Ask any service. The one that asks loses its request; in threads, those beside it do as well."""
    kind = stage.chance.choice([kind for kind in KINDS if kind.is_stream])
    _send(stage, kind, line)
    return [Price(kind.name, kind.at_once - 1, why)] if why and not kind.dies_alone else []


def _send(stage: Stage, kind: Kind, line: str) -> None:
    """Whoever asks for trouble does not wait for the answer, but holds the line for a while."""
    with contextlib.suppress(OSError):
        client = _connect(stage, kind)
        client.send(line.encode() + b"\n")
        stage.later(stage.chance.uniform(1, 8), client.close)


# clients


def send_garbage(stage: Stage) -> list[Price]:
    """a client that sends garbage"""
    kind = stage.chance.choice(KINDS)
    with contextlib.suppress(OSError), _connect(stage, kind) as client:
        client.send(stage.chance.randbytes(stage.chance.randrange(1, 4000)))
    return []


def stall(stage: Stage) -> list[Price]:
    """a client that connects and says nothing"""
    kind = stage.chance.choice([kind for kind in KINDS if kind.is_stream])
    with contextlib.suppress(OSError):
        client = _connect(stage, kind)
        if stage.chance.random() < 0.5:
            client.send(b"half a li")
        stage.later(stage.chance.uniform(0.1, 5), client.close)
    return []


def reset(stage: Stage) -> list[Price]:
    """a client that resets its connection"""
    kind = stage.chance.choice([kind for kind in KINDS if kind.bind.startswith("tcp:")])
    with contextlib.suppress(OSError), _connect(stage, kind) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.send(b"never mind\n" if stage.chance.random() < 0.5 else b"never")
    return []


def _connect(stage: Stage, kind: Kind) -> socket.socket:
    """Without waiting: a full queue is the service's trouble, not ours."""
    client = stage.endpoint(kind).open()
    client.setblocking(False)
    try:
        client.connect(stage.endpoint(kind).address)
    except BlockingIOError:
        client.setblocking(True)
        client.settimeout(1)
        client.connect(stage.endpoint(kind).address)
    return client


# operators


def scale(stage: Stage) -> list[Price]:
    """`prefork scale`"""
    kind = stage.chance.choice(KINDS)
    stage.steer("scale", kind.name, str(stage.chance.randint(1, 1 + SOME_COUNT)))
    return []


def recycle(stage: Stage) -> list[Price]:
    """`prefork recycle` of a service"""
    kind = stage.chance.choice(KINDS)
    stage.steer("recycle", kind.name, codes=frozenset({0, 1, 3}))  # 1: it is degraded; 3: an upgrade came
    return []


def pause(stage: Stage) -> list[Price]:
    """`prefork pause`, and `resume` a moment later"""
    if not stage.is_paused:
        kind = stage.chance.choice(KINDS)
        seconds = stage.chance.uniform(0.05, 1.5)
        stage.is_paused = True
        stage.steer("pause", kind.name, then=lambda: stage.later(seconds, lambda: _resume(stage, kind)))
    return []


def _resume(stage: Stage, kind: Kind) -> None:
    def forget() -> None:
        stage.is_paused = False

    stage.steer("resume", kind.name, then=forget)


def dump(stage: Stage) -> list[Price]:
    """`prefork dump` of a worker"""
    kind = stage.chance.choice(KINDS)
    workers = stage.workers(kind)
    if workers:
        # 1: it is gone; 3: it ends, or hears nothing, meanwhile
        stage.steer("dump", kind.name, str(stage.chance.choice(workers)), codes=frozenset({0, 1, 3}))
    return []


def kill_admin(stage: Stage) -> list[Price]:
    """SIGKILL of the admin process"""
    for process in stage.master.processes("admin"):
        _kill(process.pid)
    return []


def reopen_logs(stage: Stage) -> list[Price]:
    """SIGUSR1: reopen logs"""
    stage.master.signal(signal.SIGUSR1)
    return []


def signals_in_a_storm(stage: Stage) -> list[Price]:
    """a storm of signals"""
    for signum in stage.chance.choices([signal.SIGUSR1, signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT], k=30):
        stage.master.signal(signum)
    return []


def deploy(stage: Stage) -> list[Price]:
    """`prefork reload` of a good version"""
    if not stage.is_steered("reload"):
        stage.deploy()
        stage.steer("reload", codes=frozenset({0, 3}))  # 3: others kill what it forks
    return []


def deploy_broken(stage: Stage) -> list[Price]:
    """`prefork reload` of a broken version"""
    statements = ["def broken(:", "raise RuntimeError('half a deploy')", "os._exit(9)", "os.kill(os.getpid(), 9)"]
    statement = stage.chance.choice(statements)
    if not stage.is_steered("reload"):
        stage.deploy(statement)
        stage.steer("reload", codes=frozenset({3}), then=stage.deploy)
    return []


def upgrade(stage: Stage) -> list[Price]:
    """`prefork upgrade`, to the same version"""
    stage.steer("upgrade", codes=frozenset({0, 1, 3}))  # 1: something else is under way; 3: others kill what it forks
    return []


def refork(stage: Stage) -> list[Price]:
    """`prefork refork`: a worker becomes the next mold"""
    # 1: something else is under way, nobody has proven itself; 3: others kill whom it concerns
    stage.steer("refork", stage.chance.choice(["shop", "recycled", "children"]), codes=frozenset({0, 1, 3}))
    return []


# machine


def starve(stage: Stage) -> list[Price]:
    """a worker without descriptors, for a moment"""
    kind = stage.chance.choice(KINDS)
    workers = stage.workers(kind)
    if workers:
        pid = stage.chance.choice(workers)
        with contextlib.suppress(ProcessLookupError):
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, hard))
            stage.later(stage.chance.uniform(0.1, 1), lambda: _feed(pid, soft, hard))
    return []


def _feed(pid: int, soft: int, hard: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


FAULTS: dict[Fault, int] = {
    kill_worker: 10,
    kill_mold: 2,
    stop_worker: 4,
    stop_mold: 1,
    stop_master: 2,
    end_process: 5,
    raise_something: 5,
    hang: 2,
    hang_in_c: 1,
    send_garbage: 5,
    stall: 4,
    reset: 5,
    scale: 3,
    recycle: 2,
    pause: 2,
    dump: 3,
    kill_admin: 1,
    reopen_logs: 2,
    signals_in_a_storm: 2,
    deploy: 3,
    deploy_broken: 1,
    refork: 2,
    upgrade: 2,
    starve: 2,
}
"""Each with how often it is done, beside the others."""
