"""What can be seen of a site from outside, files, processes, bridges, objects and locks, to be compared as text.

What the clock or an agent's report changes by itself is left out; everything else must be the same to the letter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import demo_links, processes
from tools.demo_site import Site
from virtyard.kernel.names import kinds

NOUNS = tuple(kind.field.replace("_", "-") for kind in kinds().values())
"""Every kind of object, as the command line calls it."""
VOLATILE = frozenset({"observed", "activity", "etag"})
"""Fields that reports and projections change, as that a heartbeat is late; the generation tells what jobs changed."""

Read = Callable[[Sequence[str]], list[list[dict[str, Any]]]]
"""Runs commands and returns the objects that each of them prints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The site at one moment, each part as sorted lines."""

    find: tuple[str, ...]
    """Every path on the shared storage, with its kind, and its size where no heartbeat is written."""
    ps: tuple[str, ...]
    """Every process of the site by its command line."""
    links: tuple[str, ...]
    """Every bridge of the site, with what is plugged into it."""
    objects: tuple[str, ...]
    """Every object as JSON."""
    locks: tuple[str, ...]
    """Every lock and every waiter as JSON."""


def take(site: Site, read: Read) -> Snapshot:
    """Look at the whole site."""
    *lists, locks = read([f"{noun} list" for noun in (*NOUNS, "lock")])
    objects = [_text(item) for items in lists for item in items]
    return Snapshot(
        find=tuple(sorted(_paths(site.shared))),
        ps=tuple(sorted(f"{record.pid} {command}" for record, command in processes.working_in(site.folder))),
        links=tuple(f"{link.name} {link.uid} {' '.join(link.ports)}" for link in demo_links.links(site)),
        objects=tuple(sorted(objects)),
        locks=tuple(sorted(_text(item) for item in locks)),
    )


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Return each line that only one of the two has, with the part that it belongs to."""
    found = []
    for part in ("find", "ps", "links", "objects", "locks"):
        old, new = set(getattr(before, part)), set(getattr(after, part))
        found += [f"{part}: gone: {line}" for line in sorted(old - new)]
        found += [f"{part}: new: {line}" for line in sorted(new - old)]
    return found


def _paths(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        size = f" {path.stat().st_size}" if path.is_file() else "/"
        yield f"{path.relative_to(folder)}{size}"


def _text(item: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in item.items() if key not in VOLATILE}, sort_keys=True)
