"""What ``prefork doctor`` does: look at a machine and what is to run, or runs, on it, and say what would bite.

``looking`` reads, ``facts`` are what was read, ``checks`` judge them, ``page`` shows what they found.
Invariant: nothing is changed; what cannot be read is said to be so, with the reason, and the rest is judged.
Read next: ``checks.py``, the list of all there are.
"""
