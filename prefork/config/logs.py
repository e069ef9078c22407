"""Where an instance logs: settings as people write them, checked against each other.

It must not know how a log is opened. Invariant: what passes names one place for the log, and each value means something
there.
Read next: ``prefork/system/logs.py``, what is made of it.
"""

import os
import socket

from prefork.binds import parse
from prefork.system.logs import INTO_LOG, NO_ACCESS_LOG, Logs
from prefork.system.logsockets import FACILITIES

DEFAULT_SYSLOG = "unix:/dev/log"


def settle(
    *,
    log_file: str,
    log_to: str,
    log_syslog_to: str,
    log_syslog_facility: str,
    log_level: str,
    log_format: str,
    access_log: str,
    capture_output: bool,
) -> Logs:
    """Check what these settings of an instance say, and put them together.

    :raises ValueError: one of them makes no sense, or not beside another. The error begins with its name.
    """
    if log_file and log_to != "stderr":
        raise ValueError(f"log_to: {log_to}, and log_file is {log_file}; leave one of them out")
    for name, value, default in (
        ("log_syslog_to", log_syslog_to, DEFAULT_SYSLOG),
        ("log_syslog_facility", log_syslog_facility, "user"),
    ):
        if value != default and log_to != "syslog":
            raise ValueError(f"{name}: {value} is of use to syslog only; give log_to = syslog, or leave it out")
    if log_syslog_facility not in FACILITIES:
        raise ValueError(f"log_syslog_facility: {log_syslog_facility!r} is none; there are {', '.join(FACILITIES)}")
    _refuse_odd_syslog(log_syslog_to)
    _refuse_odd_access(access_log, log_file)
    return Logs(
        file=os.path.abspath(log_file) if log_file else "",
        to=log_to,
        level=log_level,
        form=log_format,
        syslog=log_syslog_to,
        facility=log_syslog_facility,
        access=access_log if access_log in (NO_ACCESS_LOG, INTO_LOG) else os.path.abspath(access_log),
        captures=capture_output,
    )


def _refuse_odd_syslog(text: str) -> None:
    """:raises ValueError: no syslog listens at such an address."""
    try:
        address = parse(text)
        is_one = address.scheme == "udp" or (address.scheme == "unix" and not address.is_abstract)
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError(f"log_syslog_to: {text!r} is no syslog; write it as unix:/dev/log or udp://10.0.0.7:514")
    if not address.is_unix and not _is_numeric(address.host):
        why = "is a name, and nobody waits for a resolver to log a line"
        raise ValueError(f"log_syslog_to: {address.host!r} {why}; give an address, as udp://10.0.0.7:514")


def _is_numeric(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError:
        return False
    return True


def _refuse_odd_access(access_log: str, log_file: str) -> None:
    """:raises ValueError: it is neither a path nor a word that means something."""
    if access_log in (NO_ACCESS_LOG, INTO_LOG):
        return
    if "/" not in access_log or "\0" in access_log:
        what = f"neither {NO_ACCESS_LOG} nor {INTO_LOG} nor a path; write a path as ./access.log"
        raise ValueError(f"access_log: {access_log!r} is {what}")
    if log_file and os.path.abspath(access_log) == os.path.abspath(log_file):
        raise ValueError(f"access_log: {access_log} is log_file too; write {INTO_LOG}")
