"""The soak: every kind of service under one master, under load, with faults at random, for as long as one likes.

``stage.py`` is what is on, ``faults.py`` what is done to it, ``account.py`` what it may cost and what it did cost,
``__main__.py`` the run and its table. It must not know the product's code, only what its users see.
Invariant: the same seed chooses the same faults in the same order.
"""
