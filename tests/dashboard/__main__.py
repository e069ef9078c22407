"""``python -m tests.dashboard`` writes the Grafana dashboard to ``deploy/grafana/prefork.json``."""

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tests.dashboard.dashboard import dashboard

PATH = Path(__file__).parents[2] / "deploy" / "grafana" / "prefork.json"


def text() -> str:
    return JSONEncoder(indent=2, sort_keys=True).encode(dashboard()) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
