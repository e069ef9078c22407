"""Interrupts that wait."""

import signal
import threading

import pytest

from prefork.lab.interrupts import held


def test_an_interrupt_waits_until_it_is_over() -> None:
    """And is heard then, once."""
    done = []
    with pytest.raises(KeyboardInterrupt), held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("all of it")
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_so() -> None:
    """As HUP under nohup, which is no news afterwards either."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with held():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_hear_none() -> None:
    """They may not set handlers, and need none."""
    done = []

    def begin() -> None:
        with held():
            done.append(True)

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    assert done == [True]
