"""What a build adds to the code: manual pages and completion files, made from the commands' own help and from docs/.

It runs when a wheel is built and is in no wheel. It must not know what a command does.
Invariant: the same source gives the same bytes, on any machine.
Read next: ``hook.py``, where a build asks for them; ``manual.py``, what stands on which page.
"""
