"""Long lists in the console, in a real Chromium: long tasks and processor time, for long lists and for short ones.

Usage: python -m tools.bench.console FOLDER, prints one JSON object; the folder is not used.
"""

from __future__ import annotations

import asyncio
import json

from tests.acceptance.asking import new_disk
from tests.acceptance.console.chromium import build_console
from tests.acceptance.console.costs import list_costs, make_machine, tree_costs
from tests.acceptance.site import open_site

JOBS = 100_000
"""Rows of the long list of jobs."""


def measure() -> dict[str, float]:
    """Measure the tree, then the Jobs tab, each on a site of its own."""
    build_console()
    with open_site() as site:
        few_tree, many_tree = tree_costs(site)
    with open_site() as site:
        asyncio.run(make_machine(site, [new_disk()], cards=1))
        few_jobs, many_jobs = list_costs(site, JOBS)
    return {
        "console_jobs_few_long_tasks": few_jobs["tasks"],
        "console_jobs_many_long_tasks": many_jobs["tasks"],
        "console_jobs_cpu_ratio": many_jobs["cpu"] / few_jobs["cpu"],
        "console_tree_few_long_tasks": few_tree["scrolling"]["tasks"],
        "console_tree_many_long_tasks": many_tree["scrolling"]["tasks"],
        "console_tree_cpu_ratio": many_tree["scrolling"]["cpu"] / few_tree["scrolling"]["cpu"],
        "console_change_cpu_ratio": many_tree["changing"]["cpu"] / few_tree["changing"]["cpu"],
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
