"""The catalogue of actions: loaded from this package and from entry points, never filled at import time."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from virtyard.agent import actions
from virtyard.agent.actions.contract import Action
from virtyard.api.type.v1 import annotations_pb2
from virtyard.kernel.errors import InternalError
from virtyard.kernel.options import action_hint, descriptor_of

AnyAction = Action[Any]
ENTRY_POINTS = "virtyard.actions"


def load() -> Mapping[str, AnyAction]:
    """Return every action by the full name of its message, in the order of the names.

    Raises:
        InternalError: two actions claim one message, one does not declare its domain, or an entry point names something
            else.
    """
    found: dict[str, AnyAction] = {}
    for action in [*_own(), *_added()]:
        name = action.message.DESCRIPTOR.full_name
        if name in found:
            raise InternalError(f"two actions claim {name}")
        if action_hint(descriptor_of(action.message)).domain == annotations_pb2.EFFECT_DOMAIN_UNSPECIFIED:
            raise InternalError(f"{name} does not declare its domain by the option action_hint")
        found[name] = action
    return dict(sorted(found.items()))


def _own() -> list[AnyAction]:
    names = [f"{actions.__name__}.{item.name}" for item in pkgutil.iter_modules(actions.__path__)]
    modules = [importlib.import_module(name) for name in names]
    return [module.ACTION for module in modules if hasattr(module, "ACTION")]


def _added() -> list[AnyAction]:
    loaded = [entry_point.load() for entry_point in metadata.entry_points(group=ENTRY_POINTS)]
    for action in loaded:
        if not isinstance(action, Action):
            raise InternalError(f"an entry point of {ENTRY_POINTS} names {action!r}, which is no action")
    return loaded
