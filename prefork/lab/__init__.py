"""The lab: load a service, compare modes, find how many workers it needs, and plan beyond one machine.

It uses services only as a client would: started by the command line, asked over the control socket, watched in
``/proc``. Loading, measuring, judging and printing are apart from each other: a measurement is a record, what to think
of it is a list of doubts, and a report is a printer of both. Nobody but the command line imports it.

What it stands on (numpy, scipy, matplotlib, hdrhistogram, httptools, jinja2, rich) is the extra ``lab``: a file that
needs one of them imports it, so that a command pays only for what it uses.
Invariant: a figure is shown with the doubts one should have about it; a load and each round of a comparison keep the
histogram of all their latencies.
Read next: ``load.py``, ``comparison.py``, ``profile.py``, the records; ``docs/lab.md``, how far it can be trusted.
"""
