"""The table of points: what was noted last counts, and what was not run is not shown as none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import points


def test_the_last_word_on_each_type_and_kind_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several runs add up to one table, with a sum; a page keeps what stands around the table."""
    monkeypatch.setenv(points.VARIABLE, str(tmp_path / "points"))
    points.note("start", "crash", 3, 9)
    points.note("start", "undo", 2, 2)
    points.note("create", "crash", 20, 21)
    points.note("start", "crash", 9, 9)
    page = tmp_path / "page.md"
    page.write_text(f"above\n{points.BEGIN}\nold\n{points.END}\nbelow\n")
    assert points.main([str(tmp_path / "points"), str(page)]) == 0
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("above", "below")
    assert "old" not in lines
    assert "| `create` | 20 of 21 | - | - | - |" in lines
    assert "| `start` | 9 of 9 | - | - | 2 of 2 |" in lines
    assert "| all 2 | 29 of 30 in 2 types | 0 of 0 in 0 types | 0 of 0 in 0 types | 2 of 2 in 1 types |" in lines


def test_stories_have_a_table_of_their_own() -> None:
    """A story is no operation type and counts in no sum of theirs."""
    found = {"start": {"crash": (9, 9)}, f"{points.STORY}it is held": {"crash": (2, 7)}}
    lines = points.table(found).splitlines()
    assert lines[-1] == "| it is held | 2 of 7 |"
    assert "| story | crash points |" in lines
    assert any(line.startswith("| all 1 | 9 of 9 in 1 types |") for line in lines)


def test_nothing_is_noted_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A usual run of the tests leaves no file."""
    monkeypatch.delenv(points.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    points.note("start", "crash", 1, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_page_without_marks_is_refused() -> None:
    """Nothing is written over by a slip."""
    with pytest.raises(ValueError, match="needs"):
        points.put_into("text", "table")
