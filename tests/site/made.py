"""What of the pages is made from the code: which part of which page, by whom.

Invariant: what stands in the pages is what is made now; ``test_made.py`` holds it, ``python -m tests.site`` writes it.
Read next: ``settings.py``, ``commands.py``, ``metrics.py``, ``questions.py``, and ``picture.py``.
"""

from collections.abc import Callable, Mapping

from tests.marks import filled, parts
from tests.site import commands, metrics, picture, questions, settings
from tests.site.shelves import DOCS

Maker = Callable[[str], str]  # the part as it stands, as it should

PARTS: Mapping[str, Mapping[str, Maker]] = {
    "settings.md": {"instance": settings.of_instance, "services": settings.of_services},
    "cli.md": {"commands": commands.of_all},
    "metrics.md": {"metrics": metrics.of_all},
    "questions.md": {"questions": questions.of_all},
}
PICTURES: Mapping[str, Callable[[], str]] = {"architecture/states.svg": picture.svg}


def made(page: str) -> str:
    """The whole page or picture as it should be."""
    if page in PICTURES:
        return PICTURES[page]()
    text = (DOCS / page).read_text()
    stands = parts(text)
    return filled(text, {name: make(stands[name]) for name, make in PARTS[page].items()})
