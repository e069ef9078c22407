"""The loop: wait, learn, decide, perform. This file is the whole theory of the master.

It must not know the rules, the calls or the lines. There is one place that waits and one that changes the books.
Invariant: the master never blocks anywhere else, and runs no application code.
Read next: ``prefork/pool/rules.py`` (what is decided), ``translate.py`` and ``perform.py`` (the kernel's side).
"""

import faulthandler
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping

from prefork.config.instance import Instance
from prefork.config.service import Service
from prefork.control.messages import Snapshot, Workers
from prefork.errors import Exit, PreforkError
from prefork.master import loglevel, opening, resuming, translate
from prefork.master.admin import Admin
from prefork.master.commands import Commands
from prefork.master.hands import Hands, Machine
from prefork.master.leaving import Command, Known, own_command
from prefork.master.manager import ServiceManager
from prefork.master.opening import Opened
from prefork.master.operators import Operators
from prefork.master.perform import perform
from prefork.master.resuming import Resumed
from prefork.master.savings import Savings
from prefork.master.upgrading import Upgrading
from prefork.master.watch import OVERSLEPT, Watch
from prefork.pool import events, reforking
from prefork.pool.learn import learn
from prefork.pool.records import Bounds, Phase, Pool, Wanted
from prefork.pool.rules import decide
from prefork.report import log, status
from prefork.system import processes
from prefork.system.activation import take_passed
from prefork.system.notify import Notifier, find_manager
from prefork.system.wakeup import Wakeup

_HEARD = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGCHLD,
    signal.SIGCONT,
)
_STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
logger = logging.getLogger("prefork.master")
now = time.monotonic


def run(reread: Callable[[], Instance]) -> Exit:
    """Run what the settings say until it is stopped; or go on with what the image before us left.

    :param reread: gives the settings, anew on a reload.
    :returns: the exit code of ``docs/exit-codes.md``.
    :raises UsageError: a setting is wrong.
    :raises NameTakenError: another instance holds the name, or the pid file.
    :raises BindError: an address cannot be bound.
    """
    faulthandler.enable()  # so that where we were is known also where a watchdog ends us, by SIGABRT
    left = resuming.find_left(os.environ)
    if left is not None and left.is_trial:
        return resuming.try_out(left, reread)
    passed = take_passed(os.environ)  # to this image: the next finds its descriptors in our book
    command = own_command()
    notifier = find_manager(os.environ)
    wakeup = Wakeup(_HEARD)
    try:
        if left is not None:
            with resuming.resume(left, reread) as (opened, resumed):
                return _run(opened, reread, command, wakeup, notifier, resumed)
        with opening.open_instance(reread(), passed, notifier) as opened:
            return _run(opened, reread, command, wakeup, notifier)
    except PreforkError as error:
        if notifier is not None:
            notifier.say(f"STATUS={error}")
        raise


def _run(
    opened: Opened,
    reread: Callable[[], Instance],
    command: Command,
    wakeup: Wakeup,
    notifier: Notifier | None,
    resumed: Resumed | None = None,
) -> Exit:
    opened.machine.poller.add(wakeup.fileno(), wakeup)
    operators = Operators(opened.name, opened.control, resumed)
    upgrading = Upgrading(command, opened, wakeup, operators)
    manager = None if notifier is None else ServiceManager(notifier, opened, is_resumed=resumed is not None)
    master = Master(
        opened.settings,
        reread,
        opened.machine,
        opened.hands,
        operators,
        upgrading,
        resumed,
        opened.admin,
        manager,
    )
    try:
        code = master.run()
        operators.say(logging.INFO, "stopped", f"stopped, exit {code}")
        operators.say_farewell(f"stopped, exit {code}")
        return code
    except Exception:
        logger.exception("internal error: the master ends, its workers finish what they have; please report it")
        return Exit.INTERNAL
    finally:
        # an interpreter that ends gives signals their default action back: one that comes so late must not be its exit
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)


def _wanted(service: Service, keeps_door: bool) -> Wanted:
    return Wanted(service.count, Bounds(*service.bounds), since=now(), keeps_door=keeps_door)


def _tell_cpus(name: str, service: Service) -> None:
    if service.why_workers:
        logger.info("%s: workers = auto is %s", name, service.why_workers, extra={"service": name})


class Master:
    """The loop and the books it keeps, one a service. See ``run``.

    :param upgrading: ``None`` in somebody's program, which no other can become.
    :param resumed: what the image before us knew.
    :param admin: ``None`` where there is no admin process.
    :param manager: ``None`` where no service manager wants to hear of us.
    """

    def __init__(
        self,
        settings: Instance,
        reread: Callable[[], Instance],
        machine: Machine,
        all_hands: dict[str, Hands],
        operators: Operators,
        upgrading: Upgrading | None = None,
        resumed: Resumed | None = None,
        admin: Admin | None = None,
        manager: ServiceManager | None = None,
    ) -> None:
        self._started_at = now() if resumed is None else resumed.started_at
        self._settings = settings
        self._reread = reread
        self._machine = machine
        self._hands = all_hands
        self._operators = operators
        self._upgrading = upgrading
        self._resumed = resumed
        self._admin = admin
        self._manager = manager
        self._commands = Commands(machine.instance, machine)
        self.heard: set[int] = set()  # the signals that came in all its life
        self._awake_at = now()
        self._savings = {name: Savings() for name in all_hands}
        self._watches = {name: Watch(hands.board) for name, hands in all_hands.items()}
        self._pools = (resumed.pools if resumed is not None else None) or {
            name: Pool(name, _wanted(service, all_hands[name].keeps_door)) for name, service in settings.service.items()
        }
        for name, service in settings.service.items():
            _tell_cpus(name, service)

    def run(self) -> Exit:
        until: float | None = now()
        unheard = self._go_on() if self._resumed is not None else set()
        while not (self._is_over and (self._admin is None or self._admin.is_over)):
            begun = now()
            keys = self._machine.poller.wait(None if until is None else until - begun)
            heard, unheard = translate.wakeup_signals(keys) | unheard, set()
            self.heard |= heard
            # systemd and timeout(1) send CONT behind each TERM, to whom nothing has stopped as well
            is_continued = signal.SIGCONT in heard and signal.SIGTERM not in self.heard
            if is_continued or (until is not None and now() > max(begun, until) + OVERSLEPT):
                self._wake()
            self._awake_at = now()
            for name, event in translate.translate(keys, self._machine, self._hands, self._pools, heard):
                self.learn(name, event)
            self._obey_signals(heard)
            self._operators.obey(keys, self)
            self._commands.obey(keys)
            if self._upgrading is not None:
                self._upgrading.go_on(keys, self)
            if self._is_finished:
                self._commands.finish(is_hurried=not self.heard.isdisjoint(_STOPS))
            if self._admin is not None:
                self._admin.go_on(keys, self._operators, is_last=self._is_over)
            if self._manager is not None:
                self._manager.go_on(self._pools)
            until = self._decide_all()
        return self._exit_code()

    @property
    def _is_finished(self) -> bool:
        return all(pool.is_finished for pool in self._pools.values())

    @property
    def _is_over(self) -> bool:
        return self._is_finished and self._commands.are_over

    @property
    def pools(self) -> Mapping[str, Pool]:
        """The books."""
        return self._pools

    @property
    def hands(self) -> Mapping[str, Hands]:
        """The kernel's side of every service."""
        return self._hands

    def learn(self, name: str, event: events.Event) -> str:
        """The only place where a book changes.

        :returns: what the log says of it.
        """
        before = self._pools[name]
        after = self._pools[name] = learn(before, event)
        told = log.tell(before, event, after)
        text = "" if told is None else told.text
        if told is not None:
            self._operators.keep(told)
        self._savings[name].learn(event, self._hands[name].pids())
        self._operators.learn(name, event, after, text)
        self._commands.learn(before, event, self._hands[name].serving)
        if after.is_finished and not before.is_finished and not self._hands[name].is_lent:
            self._hands[name].remove_paths()  # other services may serve on for long
        has_failed = after.failed and not before.failed
        if has_failed and not before.serving:  # at the first start one failing service fails all
            for other in self._pools:
                self.learn(other, events.StopAsked(at=now(), phase=Phase.QUICK))
        return text

    def _decide_all(self) -> float | None:
        """Decide and perform for every service.

        :returns: the moment of the next deadline: now, if what was performed may have made something due.
        """
        deadlines: list[float] = []
        for name, hands in self._hands.items():
            moment = now()
            readings = hands.read(self._pools[name], moment)
            # also where we were stopped since the wait: the signal that says so is heard only by the next one
            if moment > self._awake_at + OVERSLEPT or self._watches[name].has_overslept(readings, moment):
                self._wake()
                self._awake_at = moment
            decision = decide(self._pools[name], readings, hands.policy, moment)
            hands.heed_clients(readings.load, self._pools[name], self._machine.poller)
            for order in decision.orders:
                for event in perform(order, hands, self._machine):
                    self.learn(name, event)
            deadlines += [moment] if decision.orders else []
            deadlines += [] if decision.until is None else [decision.until]
            self._tell_savings(name, hands)
            deadlines += [moment] if self._savings[name].has_more else []
            look_again = self._watches[name].look(readings, hands.looks_every(self._pools[name]), moment)
            deadlines += [] if look_again is None else [look_again]
        deadlines += [now()] if self._operators.has_more else []
        files = self._machine.log_files
        deadlines += [now()] if files is not None and files.has_suspicion else []
        due = [self._operators.due, self._commands.until]
        due += [] if self._upgrading is None else [self._upgrading.due]
        due += [] if self._admin is None else [self._admin.until]
        due += [] if self._manager is None else [self._manager.until]
        deadlines += [moment for moment in due if moment is not None]
        return min(deadlines, default=None)

    def _tell_savings(self, name: str, hands: Hands) -> None:
        text = self._savings[name].go_on(self._pools[name], hands.pids())
        if text:
            self._operators.say(logging.INFO, "memory-saved", f"{name}: {text}")
            self._operators.tell_savings(name, text)

    def _wake(self) -> None:
        for name in self._pools:
            self.learn(name, events.MasterWoke(at=now()))

    def _obey_signals(self, heard: set[int]) -> None:
        asked = [*translate.stops_asked(heard, self._pools, self._hands), *translate.scaling_asked(heard, self._pools)]
        for name, event in asked:
            self.learn(name, event)
        if signal.SIGHUP in heard:
            self.reload()
        files = self._machine.log_files
        if signal.SIGUSR1 in heard or (files is not None and files.have_moved()):
            self.reopen_logs()
        if signal.SIGUSR2 in heard:
            self.upgrade()

    def reload(self) -> str:
        """Read the configuration again, and ask every service for its next generation.

        :returns: why it was refused, or nothing.
        """
        if self._manager is not None:
            self._manager.begin_reload()
        try:
            settings = self._reread()
            opening.refuse_restarts(self._settings, settings)
        except PreforkError as error:
            why = f"reload refused, everything serves on as it was: {error}"
            self._operators.say(logging.ERROR, "reload-refused", why)
            for name in self._pools:
                self.learn(name, events.ReloadRefused(at=now(), why=str(error)))
            return why
        self._settings = settings
        for name, service in settings.service.items():
            self._hands[name].settings = service
            _tell_cpus(name, service)
            self.learn(name, events.ReloadAsked(at=now(), configured=Bounds(*service.bounds)))
        return ""

    def refork(self, name: str) -> str:
        """Let a worker of the service become the next mold.

        :returns: why it was refused, or nothing.
        """
        pool, hands, moment = self._pools[name], self._hands[name], now()
        slots = hands.read_slots(pool, moment)
        choice = reforking.choose(pool, slots, hands.weights(pool, slots), moment)
        if isinstance(choice, str):
            return choice
        requests = slots[choice.slot].requests
        self.learn(name, events.ReforkAsked(at=moment, slot=choice.slot, order=choice.order, requests=requests))
        return ""

    def upgrade(self) -> str:
        """Try what is installed now, and become it if it passes.

        :returns: why it was refused, or nothing.
        """
        assert self._upgrading is not None, "nobody can ask"
        return self._upgrading.begin(self)

    def known(self) -> Known:
        """What the next image has to know."""
        waiting, chronicle = self._operators.upgrading, self._operators.chronicle
        return Known(self._settings, self._pools, self._started_at, waiting, chronicle, self._commands.running)

    def _go_on(self) -> set[int]:
        """New code is here: the next generation is of it.

        :returns: the signals that came while nobody listened.
        """
        assert self._resumed is not None
        self._commands.resume(self._resumed.runs)
        why = self.reload()
        self._operators.go_on(self._resumed.waiting, self._resumed.text, why, self._pools)
        return self._resumed.heard

    def tell_status(self) -> Iterator[Workers | Snapshot]:
        """A snapshot, in parts."""
        views = [hands.view(self._pools[name]) for name, hands in self._hands.items()]
        uptime = now() - self._started_at
        admin = None if self._admin is None else self._admin.view()
        return status.tell(self._machine.instance, uptime, self._machine.logs.level, views, now, admin)

    def reopen_logs(self) -> None:
        """Open log files anew, here and in every process."""
        if self._machine.log_files is not None:
            self._machine.log_files.reopen()
        self._machine.has_reopened = True
        self._operators.say(logging.INFO, "logs-reopened", "log reopened")
        for hands in self._hands.values():
            for pidfd in hands.pidfds():
                processes.tell(pidfd, signal.SIGUSR1)
        if self._admin is not None:
            self._admin.reopen_log()

    def set_log_level(self, level: str) -> None:
        """Log from ``level`` on, in every process."""
        loglevel.set_level(level, self._machine, self._hands)

    def _exit_code(self) -> Exit:
        if self.why_failed:
            return Exit.NOT_LOADED
        cut_off = sum(pool.cut_off for pool in self._pools.values())
        if cut_off:
            logger.warning("%d request%s cut off", cut_off, "s were" if cut_off > 1 else " was")
        return Exit.CUT_OFF if cut_off else Exit.STOPPED

    @property
    def has_kept_door(self) -> bool:
        """Whether listeners that were lent still admit clients."""
        return all(pool.wanted.keeps_door for pool in self._pools.values())

    @property
    def why_failed(self) -> str:
        """Why a service was given up, if one was."""
        return next((pool.failed for pool in self._pools.values() if pool.failed), "")
