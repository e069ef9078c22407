"""The rules for Prometheus: each alert fires when it should, is silent when it should be, and has its runbook."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"
DOCS = Path(__file__).parents[2] / "docs"
RULES, TESTS = "shop.rules.yml", "shop.rules.test.yml"
GROUPS: list[dict[str, Any]] = yaml.safe_load((DEPLOY / RULES).read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}

pytestmark = [
    pytest.mark.deployed,
    pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed"),
]


def promtool(*arguments: str, cwd: Path = DEPLOY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True)


def test_prometheus_takes_configuration_and_rules() -> None:
    """The configuration names the rules, so one check reads both."""
    done = promtool("check", "config", "--lint-fatal", "prometheus.yml")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{sum(len(group['rules']) for group in GROUPS)} rules found" in done.stdout


def test_the_page_shows_what_is_shipped() -> None:
    """In docs/metrics.md, how the instances are found."""
    (block,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", (DOCS / "metrics.md").read_text(), re.DOTALL)
    shipped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    assert yaml.safe_load(block) == {"scrape_configs": shipped["scrape_configs"]}


def test_each_alert_fires_when_it_should_and_else_is_silent() -> None:
    """The histories beside the rules, by Prometheus' own tester."""
    done = promtool("test", "rules", TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


def run_changed(tmp_path: Path, alert: str, **changed: str) -> bool:
    """Whether the histories of an alert still hold with its rule changed."""
    recorded = [rule for group in GROUPS for rule in group["rules"] if "record" in rule]
    group = {"name": "changed", "rules": [*recorded, {**ALERTS[alert], **changed}]}
    (tmp_path / RULES).write_text(yaml.safe_dump({"groups": [group]}))
    histories = yaml.safe_load((DEPLOY / TESTS).read_text())
    histories["tests"] = [told for told in histories["tests"] if told["name"].startswith(f"{alert}, ")]
    (tmp_path / TESTS).write_text(yaml.safe_dump(histories))
    return promtool("test", "rules", TESTS, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("alert", ALERTS)
def test_the_histories_would_notice_a_rule_that_is_wrong(alert: str, tmp_path: Path) -> None:
    """One that never fires, one that does not wait, and one that takes any value for one that matters."""
    rule = ALERTS[alert]
    assert run_changed(tmp_path, alert)
    assert not run_changed(tmp_path, alert, expr=f"({rule['expr']}) and on () vector(1) == 2")
    if "for" in rule:
        assert not run_changed(tmp_path, alert, **{"for": "0s"})
    for bound in re.finditer(r"(>|==) [\d.]+", rule["expr"]):
        always = f"{rule['expr'][: bound.start()]}>= 0{rule['expr'][bound.end() :]}"
        assert not run_changed(tmp_path, alert, expr=always)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_what_it_is_and_where_one_reads_on(alert: str) -> None:
    """How urgent, in one line, in a sentence, and the section of docs/alerts.md that is about it."""
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"].endswith(f"/alerts/#{alert.lower()}")
    assert re.search(rf"^### {alert}$", (DOCS / "alerts.md").read_text(), re.MULTILINE)


def test_the_page_tells_of_no_other_alerts() -> None:
    """Each section has its rule, in the same words for how urgent it is and how long it waits."""
    page = (DOCS / "alerts.md").read_text()
    assert re.findall(r"^### (Prefork\w+)$", page, re.MULTILINE) == list(ALERTS)
    rows = dict(re.findall(r"^\| \[(Prefork\w+)\]\(#\w+\) \| (\w+, \S+) \|", page, re.MULTILINE))
    assert rows == {name: f"{rule['labels']['severity']}, {rule.get('for', '0m')}" for name, rule in ALERTS.items()}
