"""An application that has loaded 50 MB before its workers are forked."""

from tests.bench.applications import Collecting as Collecting
from tests.bench.applications import heap

LOADED = heap()
