"""Checks of the application, as a child has loaded it or as its mold is, and of the Python around it.

It must not read anything. Read next: ``facts.py``; ``checks.py``, the order they are made in.
"""

from prefork.doctor.facts import Facts
from prefork.doctor.findings import Findings, bites, fine, note

_PRELOAD = "# start them in worker_start, or set preload = false: docs/targets.md"


def loading(facts: Facts) -> Findings:
    """Whether the application can be imported, as the user of its workers."""
    for service, outcome in facts.loads.items():
        if outcome.why:
            why = f"a start ends with exit 3, a reload with it too: {outcome.last_line}"
            yield bites(
                f"{service} cannot be loaded", why, f"prefork check --load {facts.source}    # the whole reason"
            )
        else:
            yield fine(f"{service} can be loaded")


def before_the_fork(facts: Facts) -> Findings:
    """Threads, event loops and sockets that the import leaves behind, which workers lose, or share with each other."""
    preloaded = {service.name for service in facts.services if service.preload}
    for service, outcome in facts.loads.items():
        if outcome.why:
            continue
        if service not in preloaded:
            yield fine(f"{service}: each worker imports for itself")
            continue
        if outcome.threads:
            why = "they do not survive the fork: workers have none of them, and a lock that one held is held for ever"
            yield bites(f"{service} starts {_counted('thread', outcome.threads)} at import", why, _PRELOAD)
        if outcome.loops:
            why = "it is one and the same in all workers, which take each other's events"
            yield bites(f"{service} makes {_counted('event loop', outcome.loops)} at import", why, _PRELOAD)
        if outcome.sockets:
            why = "all workers share it, and read each other's replies"
            yield bites(f"{service} opens {_counted('socket', outcome.sockets)} at import", why, _PRELOAD)
        if not (outcome.threads or outcome.loops or outcome.sockets):
            yield fine(f"{service} leaves nothing behind that workers would share")
    if facts.running is not None and not facts.loads:
        yield from _molds(facts)


def _molds(facts: Facts) -> Findings:
    assert facts.running is not None
    crowded = {mold: number for mold, number in facts.running.mold_threads.items() if number > 1}
    for mold, number in crowded.items():
        why = "only one survives the fork: workers have none of the others, and a lock that one held is held for ever"
        yield bites(f"the mold of {mold} has {number} threads", why, _PRELOAD)
    if facts.running.mold_threads and not crowded:
        yield fine("each mold has one thread")


def _counted(what: str, names: tuple[str, ...]) -> str:
    return f"{len(names)} {what}{'s' * (len(names) != 1)} ({', '.join(names)})"


def python(facts: Facts) -> Findings:
    """Which Python, and packages that something configured wants."""
    missing = [name for name, version in facts.packages.items() if version is None]
    shown = f"Python {facts.word('python')}, prefork {facts.installed}"
    if "prometheus-client" in missing and facts.instance is not None and facts.instance.admin:
        why = "admin serves health and the live page, but /metrics answers with an error"
        yield note(f"{shown}, without prometheus-client", why, "pip install 'prefork[metrics]'")
    else:
        yield fine(shown)
