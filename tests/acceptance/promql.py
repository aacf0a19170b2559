"""The dashboard as a test reads it: its expressions, and which metrics and labels each of them asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.acceptance.site import ROOT

DASHBOARD = ROOT / "deploy" / "grafana" / "virtyard.json"
FUNCTIONS = frozenset({"sum", "max", "count", "rate", "increase", "histogram_quantile", "vector", "label_values"})
KEYWORDS = frozenset({"by", "or"})
TARGET_LABELS = frozenset({"instance", "job"})
"""Labels that Prometheus adds to everything that it scrapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one expression asks for."""

    metrics: frozenset[str]
    """Names of series, with `_bucket` and the like."""
    labels: frozenset[str]
    """Labels that it picks by or groups by."""
    shown: frozenset[str]
    """Labels that its legend shows."""
    grouped: frozenset[str] | None
    """Labels that are left of its series; all of them if None."""


def asked_by(expression: str, legend: str = "") -> Asked:
    """Take an expression apart."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    picked = {name for inside in re.findall(r"\{([^}]*)\}", bare) for name in re.findall(r"(\w+)\s*[=!]", inside)}
    groups = re.findall(r"\bby\s*\(([^)]*)\)", bare)
    grouped = {name for inside in groups for name in re.findall(r"\w+", inside)}
    rest = re.sub(r"\{[^}]*\}|\[[^]]*\]|\bby\s*\([^)]*\)", " ", bare)
    words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_:]*", rest)) - FUNCTIONS - KEYWORDS
    aggregates = bool(groups) or re.match(r"(sum|max|count)\b", bare) is not None
    return Asked(
        metrics=frozenset(words),
        labels=frozenset(picked | grouped),
        shown=frozenset(re.findall(r"\{\{\s*(\w+)\s*\}\}", legend)),
        grouped=frozenset(grouped - {"le"}) if aggregates else None,
    )


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def expressions() -> Iterator[tuple[str, str, str]]:
    """Yield (title of the panel, expression, legend) of everything that the dashboard asks for."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]
