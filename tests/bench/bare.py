"""``python -m tests.bench.bare [heavy] [frozen]``: a bare forked loop, and nothing else in its memory.

Prints its port and the pid of the child that serves, then waits for the end of its standard input.
"""

import gc
import os
import socket
import sys


def main() -> None:
    if "heavy" in sys.argv:
        from tests.bench.heavy import LOADED

        assert LOADED
    if "frozen" in sys.argv:
        gc.collect()
        gc.freeze()
    listener = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        while True:
            client, _ = listener.accept()
            request = client.recv(4096)
            if request == b"collect\n":
                gc.collect()
            client.sendall(request)
            client.close()
    print(listener.getsockname()[1], pid, flush=True)
    sys.stdin.read()
    os.kill(pid, 9)
    os._exit(0)


if __name__ == "__main__":
    main()
