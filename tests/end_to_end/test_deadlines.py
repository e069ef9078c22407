"""A request that does not end is ended, and only that one."""

from tests.end_to_end.clients import Question, ask
from tests.end_to_end.harness import STREAM, TCP, Gate, serving


def test_a_stuck_request_is_ended_and_the_log_says_whose_it_was(gate: Gate) -> None:
    """The hard limit costs the worker its life; its peer, number and age are logged, and it is replaced."""
    with serving(STREAM, "-b", TCP, "-w", "1", "--request-hard", "300ms") as master:
        stuck = Question(master.bind(), f"hold {gate.path}")
        host, port = stuck.socket.getsockname()
        pid = gate.visitor().pid

        assert stuck.is_lost()

        line = master.wait_for("exceeded the hard limit of 0.3 s")
        assert f"[{pid}]" in line
        assert f"{host}:{port} #1 for 0.3 s" in line
        assert ask(master.bind(), "next") == "NEXT"


def test_an_idle_worker_has_no_deadline(gate: Gate) -> None:
    """Its last request is longer ago than the limit, for another worker exceeded it meanwhile; it serves on."""
    with serving(STREAM, "-b", TCP, "-w", "2", "--request-hard", "300ms") as master:
        workers = master.ready_workers(gate, 2)
        stuck = Question(master.bind(), f"hold {gate.path}")
        idle = workers - {gate.visitor().pid}
        assert stuck.is_lost()
        assert idle < master.ready_workers(gate, 2)
