"""Process titles, as ``ps`` shows them (design: ``prefork: worker shop/echo 1 g3 busy 10.0.0.7:51022 #1841``).

One title costs 0.3 µs and one prctl(2); a worker pays two a request.
Invariant: titles are decoration; where they cannot be set, nothing else changes.
"""

try:
    from setproctitle import setproctitle as _set
except ImportError:  # pragma: no cover - it is a dependency, but no reason to fail

    def _set(title: str) -> None:
        pass


def set_title(title: str) -> None:
    """Show ``prefork: <title>`` in the process list. Call it once before ``os.environ`` is edited."""
    _set("prefork: " + title)
