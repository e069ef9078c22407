"""Upgrading in place: the installed version is tried in a child, and only what passes its trial is become.

The child is the very command we were started with, run by the installation that is there now. It gets the book to read,
reads the configuration, decides once, and says what came of it; nothing is changed by that. It must not know what is
in the book.
Invariant: until the exec everything serves on; whoever asked gets the outcome, or the reason.
Read next: ``leaving.py``, the exec; ``resuming.py``, the child's side and the next image's.
"""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Hashable, Iterable, Mapping
from typing import Protocol

import msgspec

from prefork.master import leaving
from prefork.master.book import VARIABLE
from prefork.master.hands import Machine
from prefork.master.leaving import Command, Known
from prefork.master.opening import Opened
from prefork.master.operators import Operators
from prefork.master.reloads import STOPPING
from prefork.pool.records import Pool
from prefork.system import handover, lifeline, processes
from prefork.system.wakeup import Wakeup

OUTPUT_MAX = 16384  # bytes of what the child prints that are kept, the last ones
AS_IT_WAS = "everything serves on as it was"
PATIENCE = 1.0  # seconds that an answer which is half told may delay the exec
logger = logging.getLogger("prefork.master")
now = time.monotonic


class Verdict(msgspec.Struct, frozen=True):
    """The last line that a child prints which has passed: for ever JSON, and for ever these fields.

    :param package: the version that would go on.
    :param reads_body: whether it knows all that we know, and need not start from the configuration.
    """

    package: str
    reads_body: bool


class Trial:
    """A child of the new installation. It is a key of the poller: readable when it says something or has ended.

    :param text: the book.
    :param until: when it has had its time.
    :raises OSError: it cannot be started.
    :ivar note: where the book is.
    :ivar passed: what it found, once it has ended well; ``why``: why it is refused, once it has ended otherwise.
    """

    def __init__(self, command: Command, text: bytes, machine: Machine, until: float) -> None:
        self.until = until
        self.passed: Verdict | None = None
        self.passed_at = 0.0
        self.why = ""
        self._machine = machine
        self._output = b""
        with contextlib.ExitStack() as on_error, contextlib.ExitStack() as always:
            self.note = handover.create_note()
            on_error.callback(os.close, self.note)
            handover.write(self.note, text)
            self._reader, writer = os.pipe2(os.O_CLOEXEC)
            on_error.callback(os.close, self._reader)
            always.callback(os.close, writer)
            os.set_blocking(self._reader, False)
            copy = handover.open_to_read(self.note)
            always.callback(os.close, copy)
            tie = lifeline.open_anew(machine.lifeline)
            always.callback(os.close, tie)
            reserved = os.dup(tie)  # for the pidfd
            try:
                env = {**command.env, VARIABLE: f"try {copy}"}
                self.pid = processes.spawn(command.argv, env, [copy, tie], writer)
            finally:
                os.close(reserved)
            lifeline.tie(tie, self.pid)  # it ends with us, whatever it is doing
            pidfd = processes.open_pidfd(self.pid)
            assert pidfd is not None, "an uncollected child has a pidfd"
            self._pidfd = pidfd
            on_error.pop_all()
        machine.helpers.add(self.pid)
        machine.poller.add(self._reader, self)
        machine.poller.add(self._pidfd, self)

    def look(self) -> None:
        """Read what it says, and see whether it has ended."""
        ended = processes.reap(self._pidfd)
        while chunk := self._read():
            self._output = (self._output + chunk)[-OUTPUT_MAX:]
        if ended is None:
            return
        self._forget()
        *_, last = self._output.splitlines() or [b""]
        try:
            self.passed = msgspec.json.decode(last, type=Verdict) if ended.code == 0 else None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.passed = None
        self.passed_at = now()
        if self.passed is None:
            said = self._output.decode(errors="replace").strip().removeprefix("prefork: ")
            self.why = f"the new installation does not start: {said or f'it {ended}'}"

    def _read(self) -> bytes:
        try:
            chunk = os.read(self._reader, 65536)
        except BlockingIOError:
            return b""
        if not chunk:
            self._machine.poller.remove(self._reader)
        return chunk

    def end(self) -> None:
        """Nobody minds its outcome any more; where it still lives it is killed, and reaped like any stranger."""
        if self.pid in self._machine.helpers:
            processes.kill_group(self._pidfd, self.pid)
            self._forget()
        os.close(self.note)

    def _forget(self) -> None:
        self._machine.helpers.discard(self.pid)
        for fd in (self._reader, self._pidfd):
            self._machine.poller.remove(fd)
            os.close(fd)


class Upgradable(Protocol):
    """A master, as its upgrade sees it."""

    @property
    def pools(self) -> Mapping[str, Pool]: ...

    def known(self) -> Known: ...


class Upgrading:
    """At most one upgrade at a time.

    :param command: how this master was started.
    """

    def __init__(self, command: Command, opened: Opened, wakeup: Wakeup, operators: Operators) -> None:
        self._command = command
        self._opened = opened
        self._wakeup = wakeup
        self._operators = operators
        self._trial: Trial | None = None

    def begin(self, master: Upgradable) -> str:
        """Try what is installed now; what comes of it comes later. Asked for again meanwhile, it is the same one.

        :returns: why it is refused at once, or nothing.
        """
        why = _why_not(master.pools.values())
        if not why and self._trial is None:
            try:
                self._try(master)
            except OSError as error:
                why = f"the new installation cannot be tried: {error.strerror or error}"
            except Exception:
                why = _own_fault()
        if why:
            self._operators.say(logging.ERROR, "upgrade-refused", f"upgrade refused, {AS_IT_WAS}: {why}")
        return why

    def _try(self, master: Upgradable) -> None:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        book, _ = leaving.compose(self._opened, self._wakeup, master.known(), mask)
        limit = max(hands.settings.boot_timeout for hands in self._opened.hands.values())
        self._trial = Trial(self._command, book, self._opened.machine, now() + limit)
        text = f"upgrade: process {self._trial.pid} tries what is installed now"
        self._operators.say(logging.INFO, "upgrade-asked", text)

    @property
    def due(self) -> float | None:
        """When to look without news."""
        return None if self._trial is None else self._trial.until

    def go_on(self, keys: Iterable[Hashable], master: Upgradable) -> None:
        """Become what has passed its trial, or say why not.

        :param keys: what the wait brought.
        """
        trial = self._trial
        if trial is None:
            return
        if trial in keys:
            trial.look()
        why = _why_not(master.pools.values()) or trial.why
        if not why and now() >= trial.until:
            limit = "raise boot_timeout if it needs longer"
            waits_for = "the new installation did not say that it starts" if trial.passed is None else "no mold answers"
            why = f"{waits_for} within its time; {limit}"
        if not why and trial.passed is not None and self._is_quiet(trial):
            why = self._become(trial, trial.passed, master)
        if why:
            self._trial = None
            trial.end()
            self._operators.say(logging.ERROR, "upgrade-refused", f"upgrade refused, {AS_IT_WAS}: {why}")
            self._operators.refuse_upgrade(why)

    def _is_quiet(self, trial: Trial) -> bool:
        """Whether nobody is being born, whom a next image that cannot read the body would not know of."""
        is_anybody_unborn = any(mold.unborn for hands in self._opened.hands.values() for mold in hands.molds.values())
        is_telling = self._operators.has_more and now() < trial.passed_at + PATIENCE
        return not is_anybody_unborn and not is_telling

    def _become(self, trial: Trial, passed: Verdict, master: Upgradable) -> str:
        """:returns: why it could not be."""
        paused = [name for name, pool in master.pools.items() if pool.wanted.is_paused]
        if paused and not passed.reads_body:
            return f"version {passed.package} cannot read that {', '.join(paused)} is paused; resume it, and ask again"
        how = "" if passed.reads_body else ", but cannot read our book: it starts anew on our listeners"
        text = f"version {passed.package} has passed its trial{how}"
        self._operators.say(logging.INFO, "upgrade-tried", f"upgrade: {text}")
        self._operators.tell_upgrade(text)
        self._operators.hurry()
        try:
            leaving.become(self._command, trial.note, self._opened, self._wakeup, master.known())
        except OSError as error:
            return f"this process cannot become the new installation: {error.strerror or error}"
        except Exception:
            return _own_fault()


def _own_fault() -> str:
    """The services are worth more than an upgrade."""
    logger.exception("upgrade: internal error; please report it")
    return "an internal error of the version that runs, see its log; restart for the new one"


def _why_not(pools: Iterable[Pool]) -> str:
    """Why no upgrade may be under way, or nothing."""
    for pool in pools:
        if pool.failed:
            return f"{pool.name} was given up; restart for it"
        if pool.is_stopping:
            return STOPPING
        if pool.coming is not None or not pool.serving or pool.wanted.generation > pool.last_generation:
            number = pool.coming or pool.wanted.generation
            return f"{pool.name}: generation {number} is being loaded; ask again when it serves, or is given up"
        if pool.refork is not None:  # who was called would speak with nobody
            return f"{pool.name}: worker {pool.refork.slot} is becoming a mold; ask again when it has"
    return ""
