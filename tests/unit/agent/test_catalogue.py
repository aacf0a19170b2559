"""The catalogue of actions."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pytest

from virtyard.agent.actions import catalogue
from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.api.actions.v1 import kill_guest_pb2
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.type.v1 import annotations_pb2
from virtyard.kernel.errors import InternalError
from virtyard.kernel.options import action_hint, descriptor_of


async def nothing(message: Any, context: Context) -> Outcome:
    """Do nothing."""
    return Outcome()


ADDED = Action(message=agent_service_pb2.GetHostRequest, lane=Lane.HOST, do=nothing, probe=nothing)
CLASHING = Action(message=kill_guest_pb2.KillGuest, lane=Lane.HOST, do=nothing, probe=nothing)
NO_ACTION = "text"


def add(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let an installed package offer an action of this module."""
    point = metadata.EntryPoint(name="added", value=f"{__name__}:{name}", group=catalogue.ENTRY_POINTS)
    monkeypatch.setattr(metadata.EntryPoint, "load", lambda self: globals()[name])
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point] if group == catalogue.ENTRY_POINTS else [])


def declare(monkeypatch: pytest.MonkeyPatch, domain: annotations_pb2.EffectDomain.ValueType) -> None:
    """Let the messages of actions declare a domain."""
    monkeypatch.setattr(catalogue, "action_hint", lambda _: annotations_pb2.ActionHint(domain=domain))


def test_every_action_declares_its_domain() -> None:
    """It tells what is left of an action whose host is proven dead (P17), so no action may do without."""
    domains = {name: action_hint(descriptor_of(action.message)).domain for name, action in catalogue.load().items()}
    assert set(domains.values()) == {annotations_pb2.EFFECT_DOMAIN_HOST, annotations_pb2.EFFECT_DOMAIN_STORAGE}


def test_an_action_without_a_domain_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent does not start with it."""
    add(monkeypatch, "ADDED")
    with pytest.raises(InternalError, match="GetHostRequest does not declare its domain"):
        catalogue.load()


def test_an_installed_package_adds_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point's action is in the catalogue beside our own, and only while it is installed."""
    add(monkeypatch, "ADDED")
    declare(monkeypatch, annotations_pb2.EFFECT_DOMAIN_HOST)
    assert catalogue.load()["virtyard.api.agent.v1.GetHostRequest"] is ADDED
    monkeypatch.undo()
    assert "virtyard.api.agent.v1.GetHostRequest" not in catalogue.load()


@pytest.mark.parametrize("name", ["CLASHING", "NO_ACTION"])
def test_a_package_that_offers_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A second action for a message, or what is no action, stops the agent at its start."""
    add(monkeypatch, name)
    with pytest.raises(InternalError):
        catalogue.load()
