"""The catalogue: what it finds here, what entry points add, and what it refuses."""

from __future__ import annotations

from importlib import metadata

import pytest

from virtyard.kernel.errors import InternalError
from virtyard.operations import catalogue
from virtyard.operations.contract import OperationType

ADDED = OperationType(method="example.v1.Extra.Do", selections=lambda _: [], plan=lambda *_: None)  # type: ignore[arg-type]  # never planned


def _entry_points(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    points = metadata.EntryPoints(
        [metadata.EntryPoint(name="extra", value=f"{__name__}:{name}", group=catalogue.ENTRY_POINTS)]
    )
    monkeypatch.setattr(metadata, "entry_points", lambda group: points.select(group=group))
    monkeypatch.setattr(metadata.EntryPoint, "load", lambda _: globals()[name])


TWICE = catalogue.load()["virtyard.api.operations.v1.OperationService.CreateServerPool"]
NO_TYPE = object()


def test_module_that_bears_the_name_of_its_message_is_found() -> None:
    """Each operation type is in the file of its message's name, in snake case."""
    for method in catalogue.load():
        name = method.rpartition(".")[2]
        snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
        assert __import__(f"virtyard.operations.{snake}", fromlist=["OPERATION"]).OPERATION.method == method


def test_entry_point_adds_a_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package elsewhere needs no edit here."""
    _entry_points(monkeypatch, "ADDED")
    assert catalogue.load()["example.v1.Extra.Do"] is ADDED


@pytest.mark.parametrize("name", ["TWICE", "NO_TYPE"])
def test_entry_point_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A second type for a method, or a value that is no type."""
    _entry_points(monkeypatch, name)
    with pytest.raises(InternalError):
        catalogue.load()
