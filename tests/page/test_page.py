"""The live page, as somebody sees, hears and steers it, shown what a feed of the test tells."""

from collections.abc import Iterator
from typing import Any

import pytest

from prefork.control.messages import Degraded, QueueStatus, WorkerStatus
from tests.end_to_end.harness import look_until
from tests.page.browser import PHONE, Browser, Look, needs_chromium
from tests.page.stage import NOW, PAGE, STAGED, Feed, Stage, request, service, worker

pytestmark = needs_chromium

WORKER = "document.querySelector('.workers li:nth-child({}) button')"
# of every text that is seen: how much it stands out from what is behind it, by WCAG 2
CONTRASTS = """
(() => {
  const luminance = (rgb) => rgb.map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const colour = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const [r, g, b, alpha = 1] = colour(getComputedStyle(node).backgroundColor);
      if (alpha === 1) return [r, g, b];
    }
    throw new Error("nothing is behind it");
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !node.checkVisibility() || node.matches("script, option")) continue;
    const both = [behind(node), colour(getComputedStyle(node).color).slice(0, 3)].map(luminance);
    const [low, high] = both.sort((a, b) => a - b);
    found.push([(high + .05) / (low + .05), texts.currentNode.data.trim().slice(0, 40)]);
  }
  return found;
})()
"""


@pytest.fixture
def stage(browser: Browser, feed: Feed) -> Iterator[Stage]:
    """In the end the page has asked for nothing but itself and its feed, and nothing went wrong in it."""
    with browser.open(feed.url, script=STAGED) as tab:
        yield Stage(feed, tab)
        assert tab.complaints() == []
    assert set(feed.asked) == {"/", "/feed"}


def crew(count: int, *busy: int) -> list[WorkerStatus]:
    return [worker(slot, "idle", *[request(number=slot)] * (slot in busy)) for slot in range(1, count + 1)]


def test_an_instance_in_figures_with_units(stage: Stage) -> None:
    """Configuration beside live numbers; what is not known is a dash."""
    queues = [QueueStatus(bind="tcp://127.0.0.1:9000", waiting=3, limit=2048)]
    took = [1.2] * 89 + [30] * 9 + [400] * 2
    stage.show(
        service(crew(4, 2), configured=(2, 8), queues=queues, milliseconds=took, is_paused=True, all_busy_seconds=4.2),
        service([], "idle", milliseconds=()),
    )
    shown = stage.sees(".service")
    for text in (
        "generation 1 · prefork, sync · 60 MiB of memory (PSS)",
        "paused: nobody is accepted, clients wait in the queue",
        "all busy for 4.2 s",
        "1.7/s",
        "400 requests, 0 errors",
        "1.3 ms",
        "p99 400 ms, p90 32 ms",
        "3 waiting",
        "tcp://127.0.0.1:9000: 3 of 2,048",
        "1 of 4",
        "4 ready of 4 wanted, 2 to 8 configured, 25 % of their time in use",
        "busy pid 1002",
        "10.0.0.7:51022 #2",
        "80 requests · up 10 m · 12 MiB",
    ):
        assert text in shown
    assert stage.sees("header").split("\n\n")[:2] == ["shop", "echo is paused"]
    assert "prefork 0.1.0 · pid 100 · up 1 d · 96 MiB of memory (PSS) in 8 processes · log level info" in stage.sees()
    assert "Service time\n\n\u2013" in stage.sees(".service:nth-child(2)")


def test_what_is_wrong_is_said_with_its_reason(stage: Stage) -> None:
    """Of a traceback the line that matters; what has passed goes."""
    lack = Degraded(why="Traceback:\n  line 3\nOSError: no disk", failures=3, next_try_seconds=2.5)
    stage.show(service(crew(1), phase="degraded", degraded=lack))
    assert stage.sees(".notes") == "degraded: OSError: no disk; 3 in a row, next try in 2.5 s"
    assert stage.sees(".service .chip") == "degraded"
    stage.show(service(crew(1)))
    assert not stage.tab.evaluate("document.querySelector('.notes').checkVisibility()")
    assert stage.heard() == ["live", "echo is healthy"]


def test_a_worker_turns_busy_in_its_place(stage: Stage) -> None:
    """The cell stays the same element, says peer, number and label, and stands out once the request takes long."""
    stage.show(service(crew(3)))
    stage.tab.evaluate(f"cell = {WORKER.format(2)}; cell.textContent")
    busy = worker(2, "busy", request("10.0.0.9:4242", 7, 0.004, "checkout"))
    stage.show(service([worker(1), busy, worker(3)]))
    shown = "cell.innerText.split('\\n').map(line => line.replace(/\u00a0/g, ' ').trim()).filter(Boolean)"
    assert "10.0.0.9:4242 #7 checkout" in stage.tab.evaluate(shown)
    assert "4 ms" in stage.tab.evaluate(shown)
    assert not stage.tab.evaluate("cell.classList.contains('is-long')")
    stuck = worker(2, "busy", request("10.0.0.9:4242", 7, 12.0, "checkout"))
    stage.show(service([worker(1), stuck, worker(3)]))
    assert "B!" in stage.tab.evaluate(shown)
    assert "12 s" in stage.tab.evaluate(shown)
    assert stage.tab.evaluate(f"cell === {WORKER.format(2)}")


def test_what_an_application_says_is_text(stage: Stage) -> None:
    """Wherever it is shown, markup in it is read and not obeyed."""
    evil = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
    lack = Degraded(why=evil, failures=1, next_try_seconds=0)
    workers = [worker(1, "busy", request(evil, 1, 0.1, evil)), worker(2, "retiring", why=evil)]
    changes: dict[str, Any] = {
        "degraded": lack,
        "failed": evil,
        "target": evil,
        "binds": [evil],
        "settings": {"env": evil},
    }
    stage.feed.tell(f"{evil}\n{evil}", "error", service=evil)
    stage.show(service(workers, evil, **changes))
    stage.tab.evaluate(f"{WORKER.format(1)}.click()")
    assert stage.tab.evaluate("document.querySelectorAll('.page img, .page script').length") == 0
    assert stage.tab.evaluate("document.body.textContent").count(evil) >= 10
    assert "owned" not in stage.tab.evaluate("document.title.replace(/'owned'/g, '')")


def test_history_is_newest_first_bounded_and_told_once(stage: Stage) -> None:
    """Also after a break, when the feed repeats what is known; debug lines are there for those who ask."""
    for number in range(230):
        stage.feed.tell(f"thing {number}", at=NOW + number)
    stage.feed.tell(
        "generation 2 is given up: Traceback\n  line 3\nNameError: x", "error", "generation-abandoned", NOW + 500
    )
    stage.feed.tell("mold [7] is loading", "debug", "mold-started", NOW + 501)
    stage.show(service(crew(1)))
    text = "e.querySelector('[data-part=text]').textContent"
    shown = f"[...document.querySelectorAll('.told')].filter(e => !e.hidden).map(e => {text})"
    told = stage.tab.evaluate(shown)
    assert told[:2] == ["echo: generation 2 is given up: Traceback … NameError: x", "echo: thing 229"]
    stage.tab.evaluate("level = document.getElementById('level')")
    for value, count in ("0", 200), ("3", 1), ("2", 1), ("1", 199):
        stage.tab.evaluate(f"level.value = '{value}'; level.dispatchEvent(new Event('change'))")
        assert len(stage.tab.evaluate(shown)) == count
    stage.feed.hang_up()
    stage.feed.tell("worker 3 is gone", "warning", at=NOW + 502)
    stage.tab.wait_text("#history", "worker 3 is gone")
    assert stage.tab.evaluate(shown) == ["echo: worker 3 is gone", *told[:198]]


def test_a_lost_feed_is_never_shown_as_live(stage: Stage) -> None:
    """Silent, broken or refused: the page says so and for how long, and comes back by itself."""
    assert stage.sees("#connection") == "connecting"
    stage.show(service(crew(1)))
    assert stage.sees("#connection") == "live"
    stage.tab.evaluate("skip(12)")
    stage.tab.wait_text("#connection", "stale for 12\u00a0s")
    assert stage.tab.evaluate("document.title") == "shop: not live"
    stage.tab.evaluate("skip(10)")
    stage.tab.wait("document.title === 'shop: healthy'")  # it has given up the silent feed for another
    stage.feed.hang_up(is_open=False)
    stage.tab.wait_text("#connection", "reconnecting, stale for")
    stage.tab.wait("feed.readyState === EventSource.CLOSED")  # it was refused, and the browser does not try again
    stage.feed.reopen()
    stage.tab.evaluate("skip(4)")
    stage.tab.wait_text("#connection", "live")
    assert stage.heard() == ["live", "connection lost, figures are stale"] * 2 + ["live"]


def test_what_it_cannot_show_is_not_live(browser: Browser, feed: Feed) -> None:
    """As of a master of a version to come."""
    with browser.open(feed.url) as tab:
        feed.show({"name": "shop"})
        look_until(lambda: tab.evaluate("byId('name').textContent") == "shop" and tab.complaints() != [], "it fails")
        tab.evaluate("watch()")  # as each second
        assert tab.text("#connection") == "connecting"


def test_only_changes_are_announced(stage: Stage) -> None:
    """Phases and errors, in words; not figures each second, nor what happened before."""
    stage.feed.tell("worker 1 cannot serve: long ago", "error")
    for busy in (), (1,), (2,), (1, 2):
        stage.show(service(crew(2, *busy)))
    assert stage.heard() == ["live"]
    stage.show(service(crew(2), phase="reloading"))
    stage.feed.tell("worker 2 is gone", "warning", at=NOW + 1)
    stage.feed.tell("generation 2 is given up", "error", at=NOW + 2)
    stage.tab.wait("heard.length === 3")
    assert stage.heard()[1:] == ["echo is reloading", "error: echo: generation 2 is given up"]


def test_keys_go_through_the_workers(stage: Stage) -> None:
    """One stop of the tab key, arrows inside; the focus stays while figures change, and survives its worker."""
    stage.show(service(crew(5, 2)))
    slot = "document.activeElement.querySelector('[data-part=slot]').textContent"
    stage.tab.evaluate(f"{WORKER.format(1)}.focus()")
    stage.tab.press("ArrowRight", 39)
    assert stage.tab.evaluate(slot) == "2"
    assert "worker\n2, generation 1, pid 1002" in stage.sees(".detail")
    stage.show(service(crew(5)))
    assert stage.tab.evaluate(slot) == "2"
    assert "now\n\u2013" in stage.sees(".detail")
    stage.tab.press("End", 35)
    assert stage.tab.evaluate(slot) == "5"
    assert stage.tab.evaluate("document.querySelectorAll('.workers [tabindex=\"0\"]').length") == 1
    stage.show(service(crew(4)))
    assert stage.tab.evaluate(slot) == "4"
    stage.tab.press("Escape", 27)
    assert not stage.tab.evaluate("document.querySelector('.detail').checkVisibility()")


def test_hundreds_of_workers_stay_usable(stage: Stage) -> None:
    """Small cells, each large enough for a finger; the busy ones alone if asked for, and then with what they do."""
    stage.show(service(crew(300, 7, 250)))
    width, height = stage.tab.evaluate(
        f"(box => [box.width, box.height])({WORKER.format(250)}.getBoundingClientRect())"
    )
    assert 44 <= width <= 64
    assert 44 <= height <= 64
    assert stage.sees(".workers li:nth-child(250) .mark").split() == ["worker", "250", "B"]
    stage.tab.evaluate("document.querySelector('[data-part=busyOnly]').click()")
    seen = "[...document.querySelectorAll('.workers li')].filter(e => e.checkVisibility()).length"
    assert stage.tab.evaluate(seen) == 2
    assert "10.0.0.7:51022 #250" in stage.sees(".workers")


def test_a_screen_reader_finds_its_way(stage: Stage) -> None:
    """Landmarks, headings, a list of workers whose names say state and request, charts in words."""
    stage.show(service(crew(2, 2)))
    tree = stage.tab.accessible()
    named = [
        ("banner", ""),
        ("main", "services"),
        ("region", "echo"),
        ("complementary", "History"),
        ("contentinfo", ""),
        ("heading", "shop"),
        ("heading", "echo"),
        ("heading", "Accept queue"),
        ("list", "workers; arrow keys go from one to the next"),
        ("button", "worker 1 idle"),
        ("button", "worker 2 busy 10.0.0.7:51022 #2"),
        ("image", "clients that wait over the last two minutes: now 0, at most 0"),
    ]
    for role, name in named:
        assert (role, name) in [(r, " ".join(n.split())) for r, n in tree]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_stands_out_from_its_ground(browser: Browser, feed: Feed, scheme: str) -> None:
    """By 4.5 to 1, as WCAG 2 wants it of text, in every state."""
    states = ("idle", "starting", "retiring", "expelled", "killed")
    workers = [worker(n, state) for n, state in enumerate(states, start=1)]
    workers += [worker(8, "busy", request()), worker(9, "busy", request(age=99))]
    phases = ("healthy", "degraded", "paused", "failed", "reloading")
    services = [service(workers, f"{phase}-one", phase=phase, failed="disk") for phase in phases]
    with browser.open(feed.url, Look(scheme=scheme), STAGED) as tab:
        for number, level in enumerate(("info", "warning", "error", "critical")):
            feed.tell("something", level, at=NOW + number)
        stage = Stage(feed, tab)
        stage.show(*services)
        stage.wait_still()
        found = tab.evaluate(CONTRASTS)
        assert len(found) > 100
        assert [text for contrast, text in found if contrast < 4.5] == []


@pytest.mark.parametrize("count", [3, 100])
def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, feed: Feed, count: int) -> None:
    """Whatever is said there, and however long."""
    long = "x" * 300
    with browser.open(feed.url, PHONE, STAGED) as tab:
        feed.tell(long, "error")
        workers = [*crew(count), worker(count + 1, "busy", request(long, label=long)), worker(count + 2, why=long)]
        Stage(feed, tab).show(service(workers, long, target=long, binds=[long], failed=long, settings={long: long}))
        tab.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
        tab.evaluate(f"{WORKER.format(count + 1)}.click()")
        assert tab.evaluate("document.documentElement.scrollWidth") == 360


def test_without_scripts_it_says_where_the_figures_are(browser: Browser, feed: Feed) -> None:
    """Instead of waiting for ever."""
    with browser.open(feed.url) as tab:
        tab.call("Emulation.setScriptExecutionDisabled", value=True)
        tab.go(f"{feed.url}?again")
        assert "The same figures, as JSON: /status" in tab.text("noscript")


def test_the_page_is_small() -> None:
    """It is one file, and no reason to wait."""
    assert PAGE.stat().st_size < 40_000
