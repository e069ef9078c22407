"""Faults, each under a verifying load, each with its expectation written as a sentence.

A file is named after what fails:

    test_workers.py    SIGKILL and SIGSTOP of a worker in each of its states
    test_molds.py      of a mold
    test_masters.py    of the master, with a successor on the same path
    test_signals.py    storms; TERM during a reload, and twice
    test_deploys.py    HUP to an import that hangs, to an application that never gets ready
    test_handlers.py   what a handler can do to its process: raise, end, hang, fork, close, hoard, devour
    test_machine.py    fork and accept that fail, full disks, PID 1 with strays, several instances on one path
    test_admin.py      the admin process killed, stopped and flooded
    test_clients.py    clients that stall, vanish, reset, or send garbage
    test_clocks.py     clocks that are set, time namespaces, a machine that slept

What stands elsewhere, in the folder above: TERM during boot (``test_stopping.py``), HUP to a syntax error under load
(``test_reloading.py``), a thousand recycles (``test_recycling.py``), fork against RLIMIT_NPROC, and death by each
failing import (``test_dying.py``), orphans whose requests do not end (``test_orphans.py``), limits of requests
(``test_deadlines.py``), floods of the control socket (``test_control.py``). ``docs/faults.md`` tells all of it to
users, and ``test_page.py`` holds that it does.
Invariant: afterwards nothing is left. ``conftest.py`` looks for processes and names around every test, ``scene.py`` for
descriptors, zombies, paths and the exit code.
"""
