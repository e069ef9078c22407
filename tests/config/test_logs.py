"""Where an instance logs is checked before anything is opened; one promise a test."""

import os
import re
from typing import Any

import pytest

from prefork.config.instance import Instance
from prefork.config.service import Service
from prefork.system.logs import Logs

SERVICE = Service(target="app:Echo", bind=("tcp://127.0.0.1:9000",))


def instance(**settings: Any) -> Instance:
    return Instance(service={"echo": SERVICE}, **settings)


def test_without_settings_it_logs_to_standard_error() -> None:
    """As lines for people, without an access log."""
    logs = instance().logs
    assert logs == Logs(syslog="unix:/dev/log")
    assert (logs.file, logs.to, logs.form, logs.access, logs.captures) == ("", "stderr", "console", "none", False)


def test_paths_are_where_the_master_was_started() -> None:
    """Molds and workers may be elsewhere."""
    logs = instance(log_file="shop.log", access_log="./access.log").logs
    assert (logs.file, logs.access) == (os.path.abspath("shop.log"), os.path.abspath("access.log"))
    assert logs.has_access_file
    assert not instance(access_log="log").logs.has_access_file


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"log_to": "syslog", "log_file": "shop.log"}, "log_to: syslog, and log_file is shop.log; leave one"),
        (
            {"log_to": "journald", "log_syslog_to": "udp://[::1]:514"},
            "log_syslog_to: udp://[::1]:514 is of use to syslog",
        ),
        ({"log_syslog_facility": "local1"}, "log_syslog_facility: local1 is of use to syslog only"),
        (
            {"log_to": "syslog", "log_syslog_facility": "local9"},
            "log_syslog_facility: 'local9' is none; there are kern,",
        ),
        ({"log_to": "syslog", "log_syslog_to": "tcp://a:1"}, "log_syslog_to: 'tcp://a:1' is no syslog; write it as"),
        ({"log_to": "syslog", "log_syslog_to": "/dev/log"}, "log_syslog_to: '/dev/log' is no syslog; write it as"),
        (
            {"log_to": "syslog", "log_syslog_to": "udp://logs.example.com:514"},
            "log_syslog_to: 'logs.example.com' is a name, and nobody waits for a resolver to log a line; give",
        ),
        ({"log_to": "syslog", "log_syslog_to": "udp://localhost:514"}, "log_syslog_to: 'localhost' is a name, and"),
        ({"log_file": "a/b", "access_log": "a/../a/b"}, "access_log: a/../a/b is log_file too; write log"),
        ({"access_log": "true"}, "access_log: 'true' is neither none nor log nor a path; write a path as"),
    ],
)
def test_what_makes_no_sense_together_is_refused(settings: dict[str, Any], error: str) -> None:
    """In a line that begins with the setting and ends with what to write."""
    with pytest.raises(ValueError, match=f"^{re.escape(error)}"):
        instance(**settings)


@pytest.mark.parametrize("address", ["unix:/dev/log", "udp://10.0.0.7:514", "udp://[::1]:514"])
def test_syslog_is_here_or_elsewhere(address: str) -> None:
    """By a path, or by UDP."""
    assert instance(log_to="syslog", log_syslog_to=address).logs.syslog == address
