"""What belongs to an object: all that is below it in the lock tree, and a machine's disks, which are not below it."""

from __future__ import annotations

from virtyard.kernel.relations import LOCK_PARENTS

__all__ = ["BELONGING"]

_PARTS = (*LOCK_PARENTS.items(), ("virtualDisks", "virtual_machine"))
_RELATIONS = ", ".join(f"('{kind}', '{field}')" for kind, field in _PARTS)
BELONGING = f"""
    WITH RECURSIVE part (name) AS (
        SELECT ? UNION SELECT relation.source FROM part JOIN relation ON relation.target = part.name
        WHERE (relation.kind, relation.field) IN (VALUES {_RELATIONS})
    ) SELECT name FROM part
"""  # noqa: S608 - constants only
"""A query for the names of an object, its parameter, and of all that belongs to it now."""
