"""The tour of ``docs/tour.md``, played by real commands against a real instance.

``transcript.py`` is the page, ``stage.py`` where its commands run, ``python -m tests.tour`` records it anew.
Invariant: nothing on the page was typed by hand but commands and what stands between the blocks.
"""
