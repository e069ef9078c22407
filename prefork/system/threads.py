"""Threads: raising an exception in another one. It must not know why.

Source: the C API's PyThreadState_SetAsyncExc. The thread raises when it next runs Python code: what it waits for in a
system call has to end first.
"""

import ctypes

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)


def raise_in(thread: int, kind: type[BaseException]) -> None:
    """Let the thread raise an instance of ``kind``, made without arguments; nothing if it is no more.

    :param thread: its ``threading.get_ident()``.
    """
    _raise_in(thread, kind)
