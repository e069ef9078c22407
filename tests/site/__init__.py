"""The pages of ``docs/`` as a site, and what of them is made from the code: ``make docs``.

``hook.py`` is what mkdocs asks, ``shelves.py`` which page stands where, ``outside.py`` what lies beyond ``docs/`` and
is linked. ``made.py`` names the parts that the code writes, ``python -m tests.site`` writes them, and ``examples.py``
is what a reader may copy. Invariant: what GitHub shows of a page and what the site shows says the same.
"""
