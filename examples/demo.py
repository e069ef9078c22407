"""``make run``: two services under one master, how to talk to them, where to look at them, and their process tree.

It starts ``prefork run -c examples/prefork.toml``, asks each address until it answers, prints what an operator would
look at, and then stays until the master ends.
"""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

CONFIG = "examples/prefork.toml"
LIMIT = 30.0  # seconds for the services to come up
ADDRESSES: tuple[str | tuple[str, int], ...] = (
    ("127.0.0.1", 8000),
    ("127.0.0.1", 8001),
    ("127.0.0.1", 9000),
    "/tmp/prefork-lines.sock",
)


def main() -> int:
    master = subprocess.Popen([sys.executable, "-m", "prefork", "run", "-c", CONFIG])
    for signum in (signal.SIGINT, signal.SIGTERM):  # a terminal's ^C reaches the master by itself
        signal.signal(signum, lambda number, frame: master.send_signal(number) if number == signal.SIGTERM else None)
    if not wait_until_answered(master):
        return master.wait()
    print(
        f"""
It serves. Talk to it from another terminal:

    curl http://127.0.0.1:8000/README.md
    {sys.executable} -m examples.say 127.0.0.1:9000 hello
    {sys.executable} -m examples.say /tmp/prefork-lines.sock hello

Look at it: http://127.0.0.1:8001/ in a browser, or

    {sys.executable} -m prefork status
    {sys.executable} -m prefork top

Its processes, as ps shows them; kill any of them:
"""
    )
    print("\n".join(tree(master.pid)))
    print(f"\nkill -HUP {master.pid} reloads, kill -TTIN {master.pid} adds a worker, ^C stops.\n", flush=True)
    return master.wait()


def wait_until_answered(master: "subprocess.Popen[bytes]") -> bool:
    """Whether every address accepted a client before the master ended."""
    deadline = time.monotonic() + LIMIT
    waiting = list(ADDRESSES)
    while waiting and time.monotonic() < deadline:
        if master.poll() is not None:
            return False
        try:
            connect(waiting[0]).close()
            waiting.pop(0)
        except OSError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                master.wait(0.05)
    # listening is not serving yet: the last worker is ready when the tree says so
    while time.monotonic() < deadline and sum(" idle" in line for line in tree(master.pid)) < 5:
        with contextlib.suppress(subprocess.TimeoutExpired):
            master.wait(0.05)
    return master.poll() is None


def connect(address: str | tuple[str, int]) -> socket.socket:
    client = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    client.settimeout(LIMIT)
    client.connect(address)
    return client


def tree(root: int, indent: str = "  ") -> list[str]:
    """The titles of a process and its descendants, from /proc."""
    lines = [f"{indent}{root:>7}  {title(root)}"]
    for child in children(root):
        lines += tree(child, indent + "    ")
    return lines


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(gone)"


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main())
