"""What the READMEs say: links that lead somewhere, and sums that are those of the values."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = subprocess.check_output(["git", "ls-files", "*.md"], cwd=ROOT, text=True).split()
CODE = re.compile(r"^\s*```.*?^\s*```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_nowhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return not target.exists() or bool(anchor and anchor not in anchors(target))


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    links = [link for link in LINK.findall(CODE.sub("", page.read_text())) if "://" not in link]
    assert [link for link in links if leads_nowhere(page, link)] == []


def test_the_connections_that_the_readme_counts_are_those_of_the_charts_values() -> None:
    values = yaml.safe_load((ROOT / "helm/slipway/values.yaml").read_text())
    web = values["gunicorn"]["processes"] * (values["gunicorn"]["threads"] + 1)
    workers = (values["worker"]["replicaCount"] + 1) * (values["worker"]["processes"] + 1)
    few, most = (
        (pods + 1) * web + workers + 1
        for pods in (values["replicaCount"], values["hpa"]["maxReplicas"])
    )
    said = " ".join((ROOT / "README.md").read_text().split())
    assert f"With the chart's values that is {few}, and with `hpa.maxReplicas` {most}," in said
