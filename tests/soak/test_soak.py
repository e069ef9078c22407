"""Half a minute of the soak, from a seed of its own; ``make soak MINUTES=10`` is what one runs before a release."""

import random
import tempfile
from pathlib import Path

import pytest

from tests.end_to_end.network import own_network
from tests.soak.__main__ import run

SECONDS = 30.0


@pytest.mark.long
@pytest.mark.timeout(400)
def test_random_faults_cost_no_more_than_they_may() -> None:
    """No seed is known to break a promise; one that does is printed."""
    seed = random.SystemRandom().randrange(10**6)
    with own_network(), tempfile.TemporaryDirectory(prefix="soak-") as directory:
        account = run(Path(directory), SECONDS, random.Random(seed))
    assert account.verdict() == [], f"python -m tests.soak --minutes {SECONDS / 60:g} --seed {seed}"
