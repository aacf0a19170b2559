"""Small files that are there wholly or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from virtyard.kernel.errors import DataLoss
from virtyard.runtime.durable_file import (
    create_record,
    drop_asides,
    read_record,
    remove_file,
    sweep_asides,
    write_record,
)


def test_a_record_is_written_read_and_removed(tmp_path: Path) -> None:
    """Nothing but the record itself is left in the folder at any step."""
    path = tmp_path / "record.json"
    assert read_record(path) is None
    write_record(path, {"a": 1})
    write_record(path, {"a": 2})
    assert read_record(path) == {"a": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]
    assert remove_file(path)
    assert not remove_file(path)


def test_a_record_is_created_once(tmp_path: Path) -> None:
    """The second creator is refused and changes nothing."""
    path = tmp_path / "record.json"
    create_record(path, {"by": "first"})
    with pytest.raises(FileExistsError):
        create_record(path, {"by": "second"})
    assert read_record(path) == {"by": "first"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


def test_a_record_that_cannot_be_encoded_leaves_the_old_one(tmp_path: Path) -> None:
    """A failure half way through leaves neither half a record nor a stray file."""
    path = tmp_path / "record.json"
    write_record(path, {"a": 1})
    with pytest.raises(TypeError):
        write_record(path, {"a": object()})
    assert read_record(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_spoilt_record_is_data_loss(tmp_path: Path, text: str) -> None:
    """What cannot be read is said, with the path, and never taken for nothing."""
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(DataLoss, match=r"record\.json"):
        read_record(path)


def test_what_a_killed_writer_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what was written aside for that very record goes; a folder that is swept loses all of it, below it too."""
    below = tmp_path / "below"
    below.mkdir()
    mine, other, deep = tmp_path / "a.json", tmp_path / "a.json.b", below / "c.json"
    with monkeypatch.context() as killed:
        # A process that is killed does not clean up, and the next one has another pid.
        killed.setattr(os, "getpid", lambda: 4711)
        killed.setattr(Path, "unlink", lambda _path, missing_ok=False: None)
        killed.setattr(Path, "replace", lambda _path, _target: 1 / 0)
        for path in (mine, other, deep):
            with pytest.raises(ZeroDivisionError):
                write_record(path, {"half": "made"})
    write_record(mine, {"a": 1})
    assert len(list(tmp_path.rglob(".*"))) == 3
    drop_asides(mine)
    assert sorted(path.name.split(".json")[0] for path in tmp_path.rglob(".*")) == [".a", ".c"]
    sweep_asides(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.json"]
    assert read_record(mine) == {"a": 1}
