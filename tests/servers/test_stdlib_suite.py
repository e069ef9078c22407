"""The interpreter's own tests of ``socketserver``, run with ours in its place."""

import contextlib
import importlib.util
import socketserver as original
import sys
from typing import Any

import pytest

from prefork import socketserver

pytest.importorskip("test.support", reason="this interpreter came without its test package")
pytest.importorskip("test.test_socketserver", reason="this interpreter came without its tests")


def suite_with_ours() -> Any:
    """A second copy of ``test.test_socketserver`` in which ``import socketserver`` meant ours."""
    spec = importlib.util.find_spec("test.test_socketserver")
    assert spec is not None
    assert spec.loader is not None
    suite = importlib.util.module_from_spec(spec)
    with contextlib.ExitStack() as restored:
        restored.callback(sys.modules.__setitem__, "socketserver", original)
        sys.modules["socketserver"] = socketserver
        spec.loader.exec_module(suite)
    return suite


suite = suite_with_ours()
del suite.MiscTestCase.test_all  # compares __module__ with the literal "socketserver"; below is what it is about

SocketServerTest = suite.SocketServerTest
ErrorHandlerTest = suite.ErrorHandlerTest
SocketWriterTest = suite.SocketWriterTest
MiscTestCase = suite.MiscTestCase


def test_the_suite_runs_ours() -> None:
    """Not one name in the suite is the original's."""
    assert suite.socketserver is socketserver
    assert issubclass(suite.BaseErrorTestServer, socketserver.TCPServer)


def test_all() -> None:
    """Every public name of the running version's module is here and in ``__all__``, and nothing that is missing."""
    assert set(original.__all__) <= set(socketserver.__all__)
    assert all(hasattr(socketserver, name) for name in socketserver.__all__)


@pytest.mark.parametrize("name", original.__all__)
def test_isinstance_about_the_original_holds(name: str) -> None:
    """Who asks about the standard library's class gets yes for ours of the same name, and reaches ours first."""
    ours, theirs = getattr(socketserver, name), getattr(original, name)
    assert issubclass(ours, theirs)
    order = [cls.__module__ == "socketserver" for cls in ours.__mro__[:-1]]
    assert "prefork" in ours.__module__
    assert order == sorted(order) or "MixIn" in name


@pytest.mark.parametrize("name", original.__all__)
def test_every_method_is_defined_here(name: str) -> None:
    """No public method or attribute of a class is left to the standard library's."""
    ours = getattr(socketserver, name)
    for attribute in dir(ours):
        if not attribute.startswith("_"):
            (home, *_) = (cls for cls in ours.__mro__ if attribute in vars(cls))
            assert home.__module__.startswith("prefork."), f"{name}.{attribute} comes from {home}"
