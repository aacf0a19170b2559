"""The navigation tree of a site with ten thousand machines, in a real Chromium, against that of one with a hundred."""

from __future__ import annotations

import pytest

from tests.acceptance.console.chromium import assert_as_cheap, build_console
from tests.acceptance.console.costs import tree_costs
from tests.acceptance.site import open_site

pytestmark = pytest.mark.timeout(900)


def test_a_tree_of_ten_thousand_machines_scrolls_and_changes_as_one_of_a_hundred() -> None:
    """Only the rows that are seen are in the page, and a change of one machine does not block it for the others."""
    build_console()
    with open_site() as site:
        few, many = tree_costs(site)
    assert many["elements"] <= 1.5 * few["elements"], (few, many)
    assert many["atEnd"] <= 1.5 * few["elements"], "not even after the last row was gone to"
    for part in ("scrolling", "changing"):
        assert_as_cheap(many[part], few[part])
