"""The live page of a real instance, in a real browser: what happens there is seen there."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.end_to_end.clients import Question
from tests.end_to_end.harness import STREAM, TCP, Application, Gate, Master, serving
from tests.page.browser import Browser, Tab, needs_chromium

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@contextmanager
def watched(browser: Browser, *arguments: str) -> Iterator[tuple[Master, Tab]]:
    """A master that serves, and its page once that is live."""
    with serving(*arguments, "-b", TCP, "-w", "2", "--admin", TCP) as master:
        url = master.bind(service="admin").replace("tcp:", "http:")
        with browser.open(url) as tab:
            tab.wait_text("#connection", "live")
            yield master, tab


def test_a_busy_worker_and_its_crash_are_seen(browser: Browser, gate: Gate) -> None:
    """Who is served, as which request, and for how long; then what became of it, and the worker that follows."""
    with watched(browser, STREAM) as (master, tab):
        held = Question(master.bind(), f"hold {gate.path}")
        pid = gate.visitor().pid
        host, port = held.socket.getsockname()
        tab.wait_text(".worker[data-state=busy]", f"{host}:{port} #1")
        tab.wait_text(".worker[data-state=busy]", f"pid {pid}")
        tab.wait_text("[data-part=legend]", "1 busy")
        master.kill(pid)
        master.wait_for(f"[{pid}] of generation 1 was killed by SIGKILL")
        tab.wait_text("#history [data-event=worker-exited][data-level=warning]", f"[{pid}] of generation 1 was killed")
        tab.wait_text("[data-part=legend]", "2 idle")
        assert tab.complaints() == []
        with pytest.raises((EOFError, ConnectionResetError)):
            held.answer()


def test_a_reload_that_fails_and_one_that_serves_are_seen(browser: Browser, application: Application) -> None:
    """With the reason in the history and beside the service, until the next one does better."""
    with watched(browser, *application.arguments) as (master, tab):
        application.write("2", "import nothing_like_that")
        master.signal(signal.SIGHUP)
        master.wait_given_up(2)
        tab.wait_text("#history [data-event=generation-abandoned]", "No module named 'nothing_like_that'")
        tab.wait_text("[data-part=notes]", "No module named 'nothing_like_that'")
        application.write("3")
        master.signal(signal.SIGHUP)
        master.wait_serving(3)
        tab.wait_text("#history [data-event=generation-settled]", "generation 3 serves with 2 workers")
        tab.wait_text("[data-part=runs]", "generation 3")
        tab.wait("!document.querySelector('[data-part=notes]').checkVisibility()")


def test_the_page_outlives_the_process_that_served_it(browser: Browser) -> None:
    """It says that it is reconnecting, keeps what it knows, and is live again with the next."""
    with watched(browser, STREAM) as (master, tab):
        tab.wait_text("#history", "generation 1 serves with 2 workers")
        tab.evaluate("""
            said = []; new MutationObserver(() => said.push(document.getElementById('connection').textContent))
                .observe(document.getElementById('connection'), { childList: true, characterData: true, subtree: true })
        """)
        (admin,) = master.processes("admin")
        master.kill(admin.pid)
        tab.wait("said.some(text => text.startsWith('reconnecting'))")
        tab.wait_text("#connection", "live")
        told = (
            "[...document.querySelectorAll('.told')].filter(e => e.textContent.includes('generation 1 serves')).length"
        )
        assert tab.evaluate(told) == 1
        tab.wait_text("#facts", "started anew 1 time")
