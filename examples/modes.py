"""Who answers? One handler, served in every way there is: it says in which process and in which thread it runs.

    prefork run examples.modes:Handler --mode sync    -b tcp://127.0.0.1:9000   # one process, one client at a time
    prefork run examples.modes:Handler --mode thread  -b tcp://127.0.0.1:9000   # one process, a thread a client
    prefork run examples.modes:Handler --mode fork    -b tcp://127.0.0.1:9000   # a new process a client
    prefork run examples.modes:Handler --mode prefork -b tcp://127.0.0.1:9000   # several processes, one client each
    prefork run examples.modes:Handler --mode hybrid  -b tcp://127.0.0.1:9000   # several processes of several threads

    python -m examples.say tcp://127.0.0.1:9000 who

And without a master, by three classes of the framework in turn: ``python -m examples.modes`` serves six clients by each
and prints who answered them.
"""

import os
import socket
import threading

from prefork.socketserver import ForkingTCPServer, StreamRequestHandler, TCPServer, ThreadingTCPServer

CLIENTS = 6
LIMIT = 10.0  # seconds for anything on loopback; it ends the program if something goes wrong


class Handler(StreamRequestHandler):
    def handle(self) -> None:
        who = [f"process {os.getpid()}"]
        if slot := os.environ.get("PREFORK_SLOT"):
            who.append(f"slot {slot}")
        who.append(f"thread {threading.current_thread().name}")
        self.wfile.write((", ".join(who) + "\n").encode())


def who_answers(server_class: type[TCPServer]) -> list[str]:
    """What each of the clients hears, all of which are connected before the first one is served."""
    with server_class(("127.0.0.1", 0), Handler) as server:
        server.timeout = LIMIT
        clients = [socket.create_connection(server.server_address, LIMIT) for _ in range(CLIENTS)]
        for _ in clients:
            server.handle_request()
    # the end of the block has waited for threads and children
    answers = []
    for client in clients:
        with client, client.makefile() as reply:
            answers.append(reply.readline().rstrip())
    return answers


def main() -> None:
    for server_class in (TCPServer, ThreadingTCPServer, ForkingTCPServer):
        answers = who_answers(server_class)
        threads = sorted(set(answers))
        processes = {answer.partition(",")[0] for answer in answers}
        print(f"{server_class.__name__}: clients {len(answers)}, processes {len(processes)}, threads {len(threads)}")
        for thread in threads:
            print(f"    {thread}: {answers.count(thread)}")


if __name__ == "__main__":
    main()
