"""What a master tells its admin process on its command line, as JSON.

Descriptors are numbers that it inherits. The installed package may be newer, or older, than the master that runs: what
one of the two does not know is passed over, and what it lacks has a default.
Invariant: ``read(write(brief)) == brief``.
Read next: ``prefork/master/admin.py``, who writes it; ``prefork/admin/__main__.py``, who reads it.
"""

import msgspec

from prefork.system.logs import Logs


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """:param listener: where clients come.
    :param lifeline: ends with the master.
    :param asks: an end of a pair, over which it may ask the master; ``hears`` another, to hear what happens.
    :param log_feed: where the log file's descriptor is to be taken from; -1 where there is none. What begins with
        ``log_`` is as in ``prefork/system/logs.py``.
    """

    instance: str
    listener: int
    lifeline: int
    asks: int
    hears: int
    log_file: str = ""
    log_feed: int = -1
    log_level: str = "info"
    log_form: str = "console"
    log_to: str = "stderr"
    log_syslog: str = ""
    log_facility: str = "user"

    @property
    def logs(self) -> Logs:
        """Where it logs."""
        return Logs(
            file=self.log_file,
            feed=self.log_feed,
            to=self.log_to,
            level=self.log_level,
            form=self.log_form,
            syslog=self.log_syslog,
            facility=self.log_facility,
        )


def write(brief: Brief) -> str:
    return msgspec.json.encode(brief).decode()


def read(text: str) -> Brief:
    """:raises msgspec.MsgspecError: it is no such record."""
    return msgspec.json.decode(text, type=Brief)
