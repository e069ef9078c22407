"""An error is one line with an exit code; one promise a test."""

import pytest

from prefork.errors import (
    BindError,
    CommandError,
    Exit,
    NameTakenError,
    NoInstanceError,
    NotLoadedError,
    OutputError,
    PreforkError,
    TargetError,
    UsageError,
)


@pytest.mark.parametrize("kind", [PreforkError, UsageError, BindError, NameTakenError, NotLoadedError, TargetError])
def test_an_error_is_one_line_whatever_its_reason(kind: type[PreforkError]) -> None:
    """A reason of several lines, as a library may give it, is joined."""
    assert (
        str(kind("cannot listen:\n  taken\u2028 by others;\ttry another"))
        == "cannot listen: taken by others; try another"
    )


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (PreforkError, Exit.INTERNAL),
        (UsageError, Exit.USAGE),
        (NotLoadedError, Exit.NOT_LOADED),
        (BindError, Exit.NOT_BOUND),
        (NameTakenError, Exit.NAME_TAKEN),
        (TargetError, Exit.NOT_LOADED),
        (CommandError, Exit.REFUSED),
        (OutputError, Exit.REFUSED),
        (NoInstanceError, Exit.NO_INSTANCE),
    ],
)
def test_every_error_has_its_exit_code(kind: type[PreforkError], code: Exit) -> None:
    """Scripts tell failures apart by it."""
    assert kind("why").exit_code is code


def test_the_exit_codes_are_those_of_the_documentation() -> None:
    """They never change their meaning."""
    assert {code.name: code.value for code in Exit} == {
        "STOPPED": 0,
        "REFUSED": 1,
        "USAGE": 2,
        "NOT_LOADED": 3,
        "NOT_BOUND": 4,
        "CUT_OFF": 5,
        "NAME_TAKEN": 6,
        "NO_INSTANCE": 7,
        "INTERNAL": 70,
        "INTERRUPTED": 130,
    }
