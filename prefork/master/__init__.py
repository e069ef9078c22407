"""The hands and the loop: wait, learn, decide, perform. ``loop.py`` is the whole theory; the rest carries it out."""
