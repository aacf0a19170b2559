"""Selections: one object, and what the paths of its relations lead to, read from the relation index without a body.

`server_pool` goes forward along a field, `servers@server_pool` backward from all servers that point here; hops are
joined by a slash, and every object on the way is part of the answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.inventory.blocking_events import read_blocking
from virtyard.inventory.model import Reader
from virtyard.inventory.objects import read_rows
from virtyard.kernel.errors import GenerationMismatch, InvalidRequest
from virtyard.kernel.names import kinds
from virtyard.kernel.relations import reference_fields

__all__ = ["check_expected", "check_requirement", "resolve"]

_FORWARD = "SELECT target FROM relation WHERE field = ? AND source IN (SELECT value FROM json_each(?))"
_BACKWARD = "SELECT source FROM relation WHERE kind = ? AND field = ? AND target IN (SELECT value FROM json_each(?))"

Names: TypeAlias = set[str]


def resolve(reader: Reader, selections: Iterable[participant.Selection]) -> Names:
    """Return the names that the selections lead to; the first of each is part of it even if there is no such object.

    Raises:
        InvalidRequest: a path names a kind or a field that does not exist.
    """
    found: Names = set()
    for number, selection in enumerate(selections):
        if not selection.object:
            raise InvalidRequest.of(f"selections[{number}].object", "the name of the object to start from is required")
        found.add(selection.object)
        for path in selection.follow:
            reached: Names = {selection.object}
            for hop in path.split("/"):
                reached = _follow(reader, hop, reached, f"selections[{number}].follow")
                found |= reached
    return found


def _follow(reader: Reader, hop: str, names: Names, field: str) -> Names:
    kind, backward, via = hop.rpartition("@")
    if backward:
        if kind not in kinds() or via not in reference_fields(kind):
            raise InvalidRequest.of(field, f"{hop!r} does not exist; allowed is a kind, @ and a reference field of it")
        rows = reader.execute(_BACKWARD, (kind, via, json.dumps(list(names))))
    else:
        if not any(hop in reference_fields(collection) for collection in kinds()):
            raise InvalidRequest.of(field, f"{hop!r} does not exist; allowed is a reference field, or kind@field")
        rows = reader.execute(_FORWARD, (hop, json.dumps(list(names))))
    return {name for (name,) in rows}


def check_requirement(reader: Reader, requirement: participant.Requirement, operation: int) -> None:
    """Check that what a plan was made from still is as it was (P4); the operation's own writes do not count.

    Raises:
        GenerationMismatch: objects changed, came or went, or an event blocks one; `metadata` lists them.
    """
    wanted: Mapping[str, tuple[str, int]] = {
        version.object: (version.uid, version.generation) for version in requirement.versions
    }
    names = resolve(reader, requirement.selections) | wanted.keys()
    rows = read_rows(reader, names)
    changed = []
    for name in sorted(names):
        row = rows.get(name)
        if row is not None and row.writer == operation:
            continue
        present = (row.uid, row.generation) if row is not None and not row.deleted else ("", 0)
        if present != wanted.get(name, ("", 0)):
            changed.append(name)
    own, known = f"operations/{operation}", set(requirement.blocking_events)
    blocking = [event for event in read_blocking(reader, names) if event.name not in known and event.operation != own]
    changed += sorted({event.object for event in blocking} - set(changed))
    if changed:
        raise GenerationMismatch(
            f"changed since the plan was made: {', '.join(changed)}",
            resource=changed[0],
            metadata={"changed": ",".join(changed)},
        )


def check_expected(reader: Reader, versions: Sequence[participant.ObjectVersion], operation: int) -> None:
    """Check that objects are those that were pinned under the lock; the operation's own writes do not count.

    Raises:
        GenerationMismatch: one is another object, another generation of it, or is there though it should not be.
    """
    rows = read_rows(reader, [version.object for version in versions]) if versions else {}
    for version in versions:
        row = rows.get(version.object)
        uid, generation = (row.uid, row.generation) if row is not None and not row.deleted else ("", 0)
        if (uid, generation) == (version.uid, version.generation) or not (uid or version.uid):
            continue
        own = row is not None and row.writer == operation
        # The operation may have raised the generation, made the object or removed it, but not put another in its place.
        if not own or (uid and version.uid and uid != version.uid):
            wanted = f"uid {version.uid} and generation {version.generation}" if version.uid else "no object"
            found = f"uid {uid} and generation {generation}" if uid else "no object"
            raise GenerationMismatch(
                f"{version.object} was to have {wanted}, and there is {found}",
                resource=version.object,
                metadata={"changed": version.object, "generation": str(generation)},
            )
