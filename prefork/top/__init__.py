"""``prefork top``: what an instance does, live in a terminal, and keys that steer it.

``watch`` asks the instance, ``history`` remembers, ``dialog`` knows what is chosen, ``picture`` lays it out in lines,
``screen`` is the terminal, ``errands`` carries out commands, and ``loop`` joins them: the only place that waits.
It must not know the master's code. Invariant: whatever happens, the terminal is as it was found.
"""
