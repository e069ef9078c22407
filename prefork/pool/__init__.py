"""The mind: which workers a service has, which it wants, and what to do about the difference.

Pure: no os, socket, signal, time, threading or logging. Time is an argument, and what the kernel says is an event.
Read in this order: ``records`` (the book), ``events`` and ``learn`` (its only writer), ``rules`` and ``decide``.
"""
