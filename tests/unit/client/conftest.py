"""The shipped schema, read once for all tests of the client."""

from __future__ import annotations

import pytest

from virtyard_client.schema.own import own_schema
from virtyard_client.schema.schema import Schema


@pytest.fixture(scope="session")
def schema() -> Schema:
    """Virtyard's own schema."""
    return own_schema()
