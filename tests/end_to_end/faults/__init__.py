"""Faults, each under a verifying load, each with its expectation written as a sentence.

A file is named after what fails. Afterwards nothing may be left: ``conftest.py`` looks for processes and names around
every test, ``scene.py`` for descriptors, zombies, paths and the exit code.
"""
