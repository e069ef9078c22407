"""What all shelves share: random histories may take their time on a busy machine, and CI skips nothing."""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# a deadline or a complaint of slowness would measure the machine and not the code
settings.register_profile("prefork", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("prefork")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A part that is missing skips its tests by name; where CI promised to have it, that is a failure."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and CI skips nothing: {report.longrepr}"
    return report
