"""What repeats is told now and then."""

import pytest

from prefork.system import sparing


def test_the_first_time_is_told_and_then_one_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked, and however early in the life of the machine."""
    moments = iter([0.5, 0.6, 10.4, 10.5, 10.6])
    monkeypatch.setattr("prefork.system.sparing.time.monotonic", lambda: next(moments))
    trouble = sparing.Sparing()
    assert [trouble.is_due() for _ in range(5)] == [True, False, False, True, False]
