"""What can go wrong in a user's hands, each with the exit code the documentation gives it.

An error here is one line: what failed, on what, why, and what to try. It must not know who prints it.
Invariant: every class has the exit code of ``docs/exit-codes.md``, and its text has no line break.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the master and of the commands that steer it (``docs/exit-codes.md``)."""

    STOPPED = 0
    REFUSED = 1
    USAGE = 2
    NOT_LOADED = 3
    NOT_BOUND = 4
    CUT_OFF = 5
    NAME_TAKEN = 6
    NO_INSTANCE = 7
    INTERNAL = 70
    INTERRUPTED = 130  # 128 and SIGINT, as shells tell it


class PreforkError(Exception):
    """A failure with a one-line reason and an exit code.

    :param reason: what, on what, why, and what to try; line breaks become spaces.
    """

    exit_code: Exit = Exit.INTERNAL

    def __init__(self, reason: str) -> None:
        super().__init__(" ".join(reason.split()))


class UsageError(PreforkError):
    """A setting is wrong. Nothing was touched."""

    exit_code = Exit.USAGE


class NotLoadedError(PreforkError):
    """The application could not be loaded, or its workers never became ready."""

    exit_code = Exit.NOT_LOADED


class BindError(PreforkError):
    """An address could not be bound."""

    exit_code = Exit.NOT_BOUND


class NameTakenError(PreforkError):
    """Another instance holds this name."""

    exit_code = Exit.NAME_TAKEN


class TargetError(NotLoadedError):
    """The target names nothing that could be served, or not so."""


class CommandError(PreforkError):
    """A running instance refused a command, or does not answer."""

    exit_code = Exit.REFUSED


class OutputError(PreforkError):
    """What a command prints cannot be written; what it did is done."""

    exit_code = Exit.REFUSED


class NoInstanceError(PreforkError):
    """There is no running instance to steer."""

    exit_code = Exit.NO_INSTANCE


class RequestTimeout(BaseException):
    """A request took longer than ``timeout``: raised in its handler, wherever that is, once.

    No ``Exception``, so that ``except Exception`` does not take it for a failure of what was just called. A handler may
    catch it to answer that it was too slow; whatever it does, it has until ``request_hard``.
    """
