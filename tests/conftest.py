"""What all shelves share: the product is compiled, random histories may take their time, and CI skips nothing."""

import compileall
import gc
import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# a deadline or a complaint of slowness would measure the machine and not the code
settings.register_profile("long", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("plain", settings.get_profile("long"), max_examples=10)
settings.load_profile("plain")


ROOT = Path(__file__).parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Compile once what is started thousands of times, by masters that keep no bytecode.

    A shell lets what it starts in its background ignore ^C, and nohup lets it ignore HUP; what we start hears both.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda signum, frame: None)  # a program starts without it, and we go on
    if not hasattr(config, "workerinput"):  # before there are several of us
        for directory in ("prefork", "examples", "tests/end_to_end"):
            compileall.compile_dir(ROOT / directory, quiet=2)  # where it cannot be kept, each compiles for itself


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A part that is missing skips its tests by name; where CI promised to have it, that is a failure."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and CI skips nothing: {report.longrepr}"
    return report


def pytest_collection_finish() -> None:
    """What has been collected stays to the end: whoever collects garbage need not look through it each time."""
    gc.collect()
    gc.freeze()
