"""The catalogue of operation types: loaded from this package and from entry points, never filled at import time."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from importlib import metadata

from virtyard import operations
from virtyard.kernel.errors import InternalError
from virtyard.operations.contract import OperationType

ENTRY_POINTS = "virtyard.operations"


def load() -> Mapping[str, OperationType]:
    """Return every operation type by the full name of its method.

    Raises:
        InternalError: two types claim one method.
    """
    found: dict[str, OperationType] = {}
    for operation in [*_own(), *_added()]:
        if operation.method in found:
            raise InternalError(f"two operation types claim {operation.method}")
        found[operation.method] = operation
    return found


def _own() -> list[OperationType]:
    modules = [
        importlib.import_module(f"{operations.__name__}.{item.name}")
        for item in pkgutil.iter_modules(operations.__path__)
    ]
    return [module.OPERATION for module in modules if hasattr(module, "OPERATION")]


def _added() -> list[OperationType]:
    loaded = [entry_point.load() for entry_point in metadata.entry_points(group=ENTRY_POINTS)]
    for operation in loaded:
        if not isinstance(operation, OperationType):
            raise InternalError(f"an entry point of {ENTRY_POINTS} names {operation!r}, which is no OperationType")
    return loaded
