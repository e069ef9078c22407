"""What ``prefork init`` writes: a commented configuration, and the files that put a service on a machine.

It must not know a running instance, nor change a file that is there, unless it was told to.
Invariant: all files it was asked for are written, or none is.
Read next: ``site.py``, what is filled in; ``templates/``, the files, which ``deploy/`` has for an example.
"""
