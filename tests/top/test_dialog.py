"""Keys change what is chosen, and some call for a command: pressed here without a terminal."""

from typing import Any

import pytest

from prefork.control.messages import Dump, Pause, Recycle, Request, Resume, Scale
from prefork.top.dialog import Dialog, Errand, Page, Sight, press
from prefork.top.rows import COLUMN, Row, ordered
from tests.snapshots import service


def row(slot: int, name: str = "echo", **changed: Any) -> Row:
    usual: dict[str, Any] = {"pid": 1000 + slot, "gen": 1, "state": "idle", "age": 10.0, "requests": 0, "errors": 0}
    usual |= {"rate": None, "busy": None, "cpu": None, "pss": None, "running": None, "now": ""}
    return Row(service=name, slot=slot, **(usual | changed))


ROWS = [row(1), row(2), row(3), row(1, "mail", pid=2001)]
SIGHT = Sight([service(), service(name="mail")], ROWS, ["slot", "pid", "busy"], height=2)


def after(keys: list[str], dialog: Dialog = Dialog(), sight: Sight = SIGHT) -> tuple[Dialog, list[Request]]:  # noqa: B008
    """What is chosen then, and what was called for."""
    requests = []
    for key in keys:
        dialog, errand = press(dialog, key, sight)
        requests += [errand.request] if errand is not None else []
    return dialog, requests


@pytest.mark.parametrize(
    ("keys", "slot"),
    [
        ([], ("echo", 1)),
        (["down"], ("echo", 2)),
        (["up"], ("echo", 1)),
        (["end"], ("mail", 1)),
        (["down", "down", "home"], ("echo", 1)),
        (["page-down", "page-down", "page-down"], ("mail", 1)),
        (["end", "page-up"], ("echo", 2)),
        (["j", "j", "k"], ("echo", 2)),
        (["tab"], ("mail", 1)),
        (["tab", "tab"], ("echo", 1)),
    ],
)
def test_a_worker_is_selected(keys: list[str], slot: tuple[str, int]) -> None:
    """By arrows, by pages, by services; there is no way beyond the ends."""
    selected = after(keys)[0].row(ROWS)
    assert selected is not None
    assert selected.key == slot


def test_the_selection_stays_with_its_worker_when_the_order_changes() -> None:
    """And moves to a sibling when it is gone."""
    dialog, _ = after(["down"])
    assert dialog.row(ROWS[::-1]) == ROWS[1]
    assert dialog.row([ROWS[0], ROWS[3]]) == ROWS[0]
    assert dialog.row([ROWS[3]]) is None


@pytest.mark.parametrize(
    ("keys", "request_"),
    [
        (["+"], Scale(service="echo", by=1)),
        (["tab", "-"], Scale(service="mail", by=-1)),
        (["down", "d"], Dump(service="echo", who=2)),
        (["down", "x", "y"], Recycle(service="echo", who=2, progress=True)),
        (["X", "y"], Recycle(service="echo", who=1, now=True, progress=True)),
        (["tab", "p", "Y"], Pause(service="mail")),
    ],
)
def test_keys_call_for_commands(keys: list[str], request_: Request) -> None:
    """Of the selected worker, or its service."""
    assert after(keys)[1] == [request_]


@pytest.mark.parametrize("key", ["n", "x", "escape", "enter", "q", "down", "p"])
def test_what_would_bite_is_asked_about_first(key: str) -> None:
    """Whatever is no yes is a no."""
    for asking in ("x", "X", "p"):
        dialog, requests = after([asking, key])
        assert (requests, dialog.question, dialog.is_over) == ([], None, False)
        assert dialog.note.endswith("not done")


def test_a_worker_that_went_while_it_was_asked_about_has_no_successor_recycled() -> None:
    """The slot is another's by then."""
    dialog, _ = after(["x"])
    later = SIGHT._replace(rows=[row(1, pid=7777)])
    dialog, requests = after(["y"], dialog, later)
    assert requests == []
    assert "has gone meanwhile" in dialog.note


def test_a_paused_service_is_resumed() -> None:
    """By the same key."""
    paused = SIGHT._replace(services=[service(is_paused=True)])
    assert after(["p", "y"], sight=paused)[1] == [Resume(service="echo")]


def test_without_workers_there_is_a_service_to_scale_and_nobody_to_dump() -> None:
    """As a pool that starts on demand."""
    empty = Sight([service()], [], ["slot"], 5)
    assert after(["d", "x", "down", "+"], sight=empty)[1] == [Scale(service="echo", by=1)]
    assert after(["d"], sight=empty)[0].note == "no worker is selected"
    assert after(list("+-xdp<>r"), sight=Sight())[1] == []


def test_columns_are_chosen_in_turn() -> None:
    """Forth and back, all around; a new one begins unreversed."""
    assert after([">"])[0].by == "pid"  # the rows are by service and slot already
    assert after([">", ">", ">"])[0].by == "slot"
    assert after(["<"])[0].by == "busy"
    assert after(["r"])[0].is_reversed
    assert not after(["r", ">"])[0].is_reversed


def test_several_lines_are_a_page_and_one_is_a_note() -> None:
    """A page is read by keys, and any other returns from it."""
    text = "\n".join(f"line {n}" for n in range(10))
    dialog = Dialog().tell("dump worker 1", text, True)
    assert dialog.page == Page("dump worker 1", tuple(text.splitlines()))
    offsets = []
    for key in ("down", "page-down", "end", "down", "page-up", "up", "home", "up"):
        dialog, requests = after([key], dialog)
        assert dialog.page is not None
        offsets.append(dialog.page.offset)
    assert offsets == [1, 3, 8, 8, 6, 5, 0, 0]
    dialog, requests = after(["x"], dialog)
    assert (dialog.page, dialog.question, requests) == (None, None, [])
    assert Dialog().tell("scale echo +1", "6 workers\n", True).note == "6 workers"
    assert Dialog().tell("scale echo +1", "no", False).note == "scale echo +1: no"


def test_a_page_that_comes_while_a_question_waits_takes_no_key_from_it() -> None:
    """The answer is for the question."""
    dialog, _ = after(["x"])
    dialog = dialog.tell("dump", "a\nb", True)
    dialog, requests = after(["y"], dialog)
    assert [type(request) for request in requests] == [Recycle]
    assert dialog.page is not None


def test_help_is_left_by_any_key_and_q_ends() -> None:
    """Also the key that would do something else."""
    assert after(["?"])[0].is_help
    assert after(["?", "q"])[0] == Dialog()
    assert after(["q"])[0].is_over


def test_rows_are_sorted_by_what_a_column_says() -> None:
    """By number and not by its text, the most first; what is not known comes last, either way."""
    table = [row(1, busy=0.02), row(2, busy=0.5), row(3), row(10, busy=0.1)]
    assert [r.slot for r in ordered(table, "busy", False)] == [2, 10, 1, 3]
    assert [r.slot for r in ordered(table, "busy", True)] == [1, 10, 2, 3]
    assert [r.slot for r in ordered(table, "slot", False)] == [1, 2, 3, 10]
    assert [r.slot for r in ordered(table, "service", True)] == [10, 3, 2, 1]
    assert set(COLUMN) == {column for column in COLUMN if ordered(table, column, False)}


def test_an_errand_is_titled_by_whom_it_concerns() -> None:
    """So that a question says it."""
    question = after(["down", "x"])[0].question
    assert question == Errand("recycle worker 2 [1002] of echo", Recycle(service="echo", who=2, progress=True), 1002)
