"""How far a command of the lab is, as it is told where nobody sees a bar."""

import pytest

from prefork.cli.lab_steps import CountedSteps, TimedSteps


def test_steps_are_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Each of those that are counted as it begins, of those that take time what they tell."""
    with CountedSteps(2) as counted:
        counted.begin("echo")
        counted.begin("wait")
    with TimedSteps(60.0) as timed:
        timed.say("1 worker: 90/s")
        timed.move(30.0)
    assert capsys.readouterr() == ("", "[1/2] echo\n[2/2] wait\n1 worker: 90/s\n")
