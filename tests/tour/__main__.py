"""``python -m tests.tour``: play the tour and write down what was seen."""

import tempfile
from pathlib import Path

from tests.end_to_end.harness import ROOT
from tests.end_to_end.network import own_network
from tests.tour.stage import Stage
from tests.tour.transcript import rewritten

PAGE = ROOT / "docs" / "tour.md"

if __name__ == "__main__":
    with own_network(), tempfile.TemporaryDirectory() as directory, Stage(Path(directory)) as stage:
        PAGE.write_text(rewritten(PAGE.read_text(), stage.run))
