"""``python -m tests.site``: write into the pages what is made from the code."""

from tests.site.made import PARTS, PICTURES, made
from tests.site.shelves import DOCS

if __name__ == "__main__":
    for page in (*PARTS, *PICTURES):
        (DOCS / page).write_text(made(page))
