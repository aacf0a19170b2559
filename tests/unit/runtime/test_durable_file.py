"""Small files that are there wholly or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtyard.kernel.errors import DataLoss
from virtyard.runtime.durable_file import create_record, read_record, remove_file, write_record


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
