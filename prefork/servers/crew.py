"""The crew: threads that take one job after another, never more of them than its size.

It must not know what a job is.
Invariant: a job that ends, however it ends, makes room for one; no idle thread outlives the crew's keeping.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

Job = tuple[Callable[..., object], tuple[Any, ...]]


class Crew:
    """Threads, started when no idle one is there.

    :param size: jobs at a time.
    :param when_room: called by a thread whose end of a job makes room in a full crew.
    """

    def __init__(self, size: int, when_room: Callable[[], object]) -> None:
        self._size = size
        self._when_room = when_room
        self._changed = threading.Condition()  # guards what follows
        self._busy = 0
        self._idle = 0
        self._is_kept = False
        self._threads: set[threading.Thread] = set()
        self._awaited: set[threading.Thread] = set()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()  # for idle threads: a job, or None to leave

    def __len__(self) -> int:
        """How many threads there are, idle ones included."""
        return len(self._threads)

    @property
    def has_room(self) -> bool:
        return self._busy < self._size

    def wait_for_room(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.has_room)

    def wait_until_idle(self) -> None:
        """Wait until no job is under way."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)

    def hand_over(self, job: Job, *, daemon: bool, awaited: bool) -> None:
        """Let an idle thread do the job, or a new one.

        :param daemon: of a new thread, as ``threading.Thread`` means it.
        :param awaited: whether ``join`` waits for a new thread.
        :raises RuntimeError: the machine has no more threads.
        """
        with self._changed:
            self._busy += 1
            if self._idle:
                self._idle -= 1
                self._jobs.put(job)
                return
            thread = threading.Thread(target=self._work, args=(job,), daemon=daemon)
            self._threads.add(thread)
            if awaited:
                self._awaited.add(thread)
        try:
            thread.start()
        except BaseException:
            self._forget(thread)
            self._end_job(is_fit=False)
            raise

    def keep(self) -> None:
        """From now on a thread that has done its job waits for the next one."""
        with self._changed:
            self._is_kept = True
        _kept.add(self)

    def dismiss(self) -> None:
        """Idle threads leave, and busy ones will after their job."""
        _kept.discard(self)
        with self._changed:
            self._is_kept = False
            for _ in range(self._idle):
                self._jobs.put(None)
            self._idle = 0

    def join(self) -> None:
        """Dismiss all, and wait for those that are to be awaited."""
        self.dismiss()
        for thread in list(self._awaited):
            if thread is not threading.current_thread():
                thread.join()

    def _work(self, job: Job | None) -> None:
        try:
            while job is not None:
                is_staying = self._do(*job)
                job = None  # an idle thread holds nobody's request
                if is_staying:
                    job = self._jobs.get()
        finally:
            self._forget(threading.current_thread())

    def _do(self, call: Callable[..., object], arguments: tuple[Any, ...]) -> bool:
        """Do one job. Whether this thread waits for another; one that its job threw out does not."""
        is_fit = False
        try:
            call(*arguments)
            is_fit = True
        finally:
            is_staying = self._end_job(is_fit)
        return is_staying

    def _end_job(self, is_fit: bool) -> bool:
        """Make room, and in the same breath become idle, or the next job would start one thread too many."""
        with self._changed:
            was_full = not self.has_room
            self._busy -= 1
            is_staying = is_fit and self._is_kept
            if is_staying:
                self._idle += 1
            self._changed.notify_all()
        if was_full:
            self._when_room()
        return is_staying

    def _forget(self, thread: threading.Thread) -> None:
        with self._changed:
            self._threads.discard(thread)
            self._awaited.discard(thread)


_kept: set[Crew] = set()


def _dismiss_all() -> None:
    for crew in list(_kept):
        crew.dismiss()


# The interpreter joins all threads that are no daemons before it calls what atexit knows, so idle ones have to leave
# earlier. concurrent.futures does it the same way; there is no public one.
threading._register_atexit(_dismiss_all)  # type: ignore[attr-defined]
