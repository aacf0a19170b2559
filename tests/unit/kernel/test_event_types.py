"""The catalogue of event types: whole, the same as the documentation, and what every event of the code is made from."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from virtyard.api.inventory.v1 import event_pb2
from virtyard.kernel import event_types
from virtyard.kernel.event_tables import render
from virtyard.kernel.event_types import EVENT_TYPES, EventType, find, new_event
from virtyard.kernel.names import kinds

ROOT = Path(__file__).parents[3]
SERVICES = ROOT / "services" / "virtyard"


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.name)
def test_type_is_described(kind: EventType) -> None:
    """Each says what it means and what to do in sentences, and names only kinds and types that exist."""
    assert kind.name == kind.name.upper()
    assert kind.name.replace("_", "").isalpha()
    for text in (kind.meaning, kind.advice):
        assert text[0].isupper()
        assert text.endswith(".")
        assert "|" not in text
    assert set(kind.about) <= set(kinds())
    assert all(find(name) is not None for name in kind.cleared_by)
    assert kind.severity > event_pb2.SEVERITY_INFORMATIONAL or not kind.acknowledgeable
    assert getattr(event_types, kind.name) is kind


def test_names_are_unique() -> None:
    """A name stands for one type."""
    assert len({kind.name for kind in EVENT_TYPES}) == len(EVENT_TYPES)
    assert find("NO_SUCH_TYPE") is None


def test_documentation_shows_the_catalogue() -> None:
    """The tables in the documentation are those that the catalogue gives; every type is in them."""
    text = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert render() in text
    assert all(f"| `{kind.name}` |" in text for kind in EVENT_TYPES)


def test_event_has_what_its_type_gives() -> None:
    """Type and severity come from the catalogue, the rest from the caller."""
    event = new_event(event_types.SERVER_OFFLINE, "servers/s", "servers/s is silent", undone=True)
    assert (event.type, event.severity, event.object) == ("SERVER_OFFLINE", event_pb2.SEVERITY_WARNING, "servers/s")
    assert (event.message, event.undone) == ("servers/s is silent", True)


def made_elsewhere(source: str) -> list[str]:
    """Return the calls of `Event(...)` with a type, which only the catalogue's own module may make."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and any(keyword.arg == "type" for keyword in node.keywords):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == "Event":
                found.append(ast.unparse(node))
    return found


def test_every_event_of_the_code_is_made_from_the_catalogue() -> None:
    """No service builds an event by itself, so none has a type or a severity that the catalogue does not know."""
    assert made_elsewhere("event_pb2.Event(type='X')"), "the search finds what it looks for"
    for path in SERVICES.rglob("*.py"):
        if "api" not in path.parts and path.name != "event_types.py":
            assert not made_elsewhere(path.read_text(encoding="utf-8")), path
