"""The page: aligned, no wider than it may be, commands whole."""

import json

from prefork.doctor import page
from prefork.doctor.findings import bites, fine, note, skipped

LONG = (
    "of a queue that is full, new clients are turned away, and whoever waits in it "
    + "waits for longer than he likes to wait"
)
FOUND = {
    "limits": [
        fine("1024")._replace(about="open files"),
        bites("64", LONG, "ulimit -n 4096", "# or ask somebody")._replace(about="processes"),
    ],
    "machine": [
        note("hpet", "it is slow", "dmesg")._replace(about="clock"),
        skipped("swap could not be read: no")._replace(about="swap"),
    ],
}


def test_a_line_a_check_and_what_follows_from_it() -> None:
    """What it comes to stands at the end."""
    assert list(page.lines("shop, as user root", FOUND, 80)) == [
        "shop, as user root",
        "",
        "limits",
        "  ok    open files            1024",
        "  BITES processes             64",
        "                              of a queue that is full, new clients are turned",
        "                              away, and whoever waits in it waits for longer",
        "                              than he likes to wait",
        "                              $ ulimit -n 4096",
        "                              # or ask somebody",
        "",
        "machine",
        "  note  clock                 hpet",
        "                              it is slow",
        "                              $ dmesg",
        "  -     swap                  swap could not be read: no",
        "",
        "1 thing would bite, 1 note, 1 not looked at",
    ]


def test_nothing_bites() -> None:
    """And it says so."""
    calm = {"limits": [fine("1024")]}
    assert page.summary(calm) == "nothing would bite"
    assert (page.does_bite(calm), page.does_bite(FOUND)) == (False, True)


def test_the_same_for_programs() -> None:
    """All of it, as JSON."""
    plain = json.loads(json.dumps(page.as_plain("shop", FOUND)))
    assert plain["would_bite"] is True
    assert plain["findings"][1] == {
        "group": "limits",
        "check": "processes",
        "verdict": "bites",
        "measured": "64",
        "why": LONG,
        "commands": ["ulimit -n 4096", "# or ask somebody"],
    }
