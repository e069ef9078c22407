"""Run synchronous network services in production.

A master owns the listening sockets and keeps a pool of preforked workers, each running the plain synchronous
server loop: ``prefork run mymodule:Handler --bind tcp://0.0.0.0:9000``.

This file holds the version and nothing that costs a worker memory.
Read next: ``docs/architecture.md``, then ``prefork/master/loop.py``, where everything meets.
"""

__version__ = "0.1.0"
