"""The reference of settings: docs/configuration.md says what the declaration says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import generate_configuration as generator
from virtyard.processes.settings import SETTINGS


def test_page_is_current() -> None:
    """Whoever changes a setting writes the page again: python -m tools.generate_configuration."""
    page = generator.PAGE.read_text(encoding="utf-8")
    assert page == generator.rendered(page)


def test_every_setting_is_listed_with_its_reason() -> None:
    """No default is without its reason in the docs."""
    page = generator.PAGE.read_text(encoding="utf-8")
    for setting in SETTINGS:
        row = next(
            line for line in page.splitlines() if line.startswith(f"| `{setting.key}`") and setting.summary in line
        )
        assert setting.reason in row, setting.name


def test_an_outdated_page_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check fails on a page that lacks a row, and writing it mends that."""
    page = tmp_path / "configuration.md"
    monkeypatch.setattr(generator, "PAGE", page)
    page.write_text(f"# Before\n\n{generator.BEGIN}\n{generator.END}\n\nAfter.\n", encoding="utf-8")
    assert generator.main(["--check"]) == 1
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    assert page.read_text(encoding="utf-8").startswith("# Before")
    assert page.read_text(encoding="utf-8").endswith("\n\nAfter.\n")
