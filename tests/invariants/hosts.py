"""The invariants between the inventory and the hosts' real state: what is recorded is there, and nothing else is.

They are of a site of simulated hosts where nothing runs. The folders of hosts and of the shared storage are read as
they lie there; the ledgers have no part in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.invariants.records import Records, agents
from virtyard.agent.drivers.heartbeat import block
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs.model import Operation
from virtyard.kernel.names import collection_of, id_of

_MARKER = ".virtyard-repository.json"
_RUNNING = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
_MAKING = ("Attach", "Boot", "Claim", "Create", "Import", "Join", "LayOut", "Restore", "Start")
"""How the names of actions begin that make something."""
_KEPT = (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_PARTIAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What hosts and their shared storage hold; read by `look`."""

    shared: Path
    """The shared storage."""
    repositories: Mapping[str, tuple[Path, Mapping[str, Any]]]
    """The folder and the marker of each repository, by uid."""
    devices: Mapping[str, tuple[Path, Sequence[Mapping[str, Any] | None]]]
    """The file and the blocks of each heartbeat device, by uid; the first block is the header."""
    hosts: Mapping[str, Path]
    """The state folder of each agent, by its server's id."""

    def marks(self) -> Iterator[tuple[str, str]]:
        """Yield (thing, mark) of all that actions made."""
        for folder, marker in self.repositories.values():
            yield str(folder), marker["mark"]
            yield from ((str(path), _load(path)["mark"]) for path in folder.glob("disks/*.json"))
        for path, blocks in self.devices.values():
            yield str(path), (blocks[0] or {})["mark"]
        for host in self.hosts.values():
            for path in (*host.glob("heartbeat/*.json"), *host.glob("sim/bridges/*.json")):
                yield str(path), _load(path)["mark"]
            for path in host.glob("sim/guests/*.json"):
                yield str(path), _load(path)["guest"]["mark"]
            if _claim(host)["owner_id"]:
                yield f"the claim of {host.name}", _claim(host)["mark"]


def look(folder: Path, shared: Path) -> World:
    """Read the shared storage; what the agents of the site in this folder keep is read later."""
    markers = [(path.parent, _load(path)) for path in shared.rglob(_MARKER)]
    devices = {}
    for path in sorted(shared.glob("*")):
        header = block.read(path, 0, 1)[0] if path.is_file() and path.stat().st_size % block.SIZE == 0 else None
        if header is not None and "slots" in header:
            devices[header["uid"]] = path, block.read(path, 0, header["slots"] + 1)
    return World(
        shared=shared,
        repositories={marker["uid"]: (folder, marker) for folder, marker in markers},
        devices=devices,
        hosts={path.name: path for path in agents(folder)},
    )


def storage_as_recorded(records: Records, world: World) -> Iterator[str]:
    """Each repository has its folder and each disk and image its file, of its size; no other file is there."""
    live = _by_uid(records, "repositories")
    yield from _both("repository", {uid: one.path for uid, one in live.items()}, _paths(world.repositories))
    for path in world.shared.rglob("*"):
        if path.name.startswith((".virtyard-new-", ".virtyard-gone-")) or path.suffix in (".part", ".new"):
            yield f"{path} was left half made"
    for uid, (folder, _) in world.repositories.items():
        name = live[uid].name if uid in live else ""
        recorded = {
            one.uid: one
            for kind in ("virtualDisks", "images")
            for one in _by_uid(records, kind).values()
            if one.repository == name
        }
        sidecars = {path.stem for path in (folder / "disks").glob("*.json")}
        files = {path.stem: path for path in (folder / "disks").iterdir() if path.suffix != ".json"}
        yield from _both(f"record of {name}", dict.fromkeys(recorded, ""), dict.fromkeys(sidecars, ""))
        yield from _both(f"image of {name}", dict.fromkeys(recorded, ""), dict.fromkeys(files, ""))
        yield from (f"{path} waits to be erased" for path in (folder / ".trash").iterdir())
        for each, path in files.items():
            if each in recorded and path.suffix == ".raw" and path.stat().st_size != recorded[each].size_bytes:
                yield f"{path} has {path.stat().st_size} bytes, recorded are {recorded[each].size_bytes}"


def clusters_as_recorded(records: Records, world: World) -> Iterator[str]:
    """Each heartbeat device is there, its slots are those of the members, and each member's host takes part."""
    live = _by_uid(records, "heartbeatDevices")
    yield from _both("heartbeat device", {uid: one.path for uid, one in live.items()}, _paths(world.devices))
    memberships: dict[tuple[str, str], int] = {}
    for cluster in _by_uid(records, "clusters").values():
        members = {member.server: member.slot for member in cluster.members}
        memberships |= {(cluster.uid, id_of(server)): slot for server, slot in members.items()}
        device = records.objects.get(cluster.heartbeat_device)
        _, blocks = world.devices.get(device.uid if device else "", (None, ()))
        slots = {
            content["server"]: slot for slot, content in enumerate(blocks) if slot and content and content["server"]
        }
        if slots != members:
            yield f"{cluster.name} has the members {members}, its device the slots {slots}"
    there = {
        (path.stem, host): _load(path)["slot"]
        for host, folder in world.hosts.items()
        for path in folder.glob("heartbeat/*.json")
    }
    yield from _both("membership", memberships, there)


def guests_as_recorded(records: Records, world: World) -> Iterator[str]:
    """Each machine that runs has one guest, on its server; other hosts have only ended ones of what is stopped."""
    machines = _by_uid(records, "virtualMachines")
    running = {(one.uid, id_of(one.server)): True for one in machines.values() if one.state == _RUNNING}
    there = {
        (path.stem, host): not _load(path)["ended"]
        for host, folder in world.hosts.items()
        for path in folder.glob("sim/guests/*.json")
    }
    for guest, runs in list(there.items()):
        machine = machines.get(guest[0])
        if not runs and machine is not None and not machine.server:
            # Kept until it is started again or deleted, for whoever wants to know how it ended.
            del there[guest]
    yield from _both("guest", running, there)


def hosts_as_recorded(records: Records, world: World) -> Iterator[str]:
    """Each host is claimed while its server is known, and has the bridges and repositories that are recorded."""
    servers = {one.name for one in _by_uid(records, "servers").values()}
    bridges = {
        (one.uid, id_of(server)): True for one in _by_uid(records, "networks").values() for server in one.servers
    }
    there = {
        (_load(path)["uid"], host): True
        for host, folder in world.hosts.items()
        for path in folder.glob("sim/bridges/*.json")
    }
    yield from _both("bridge", bridges, there)
    repositories = _by_uid(records, "repositories")
    for host, folder in world.hosts.items():
        claimed = _claim(folder)["owner_id"]
        if claimed != (records.site if f"servers/{host}" in servers else ""):
            yield f"{host} is claimed by {claimed or 'nobody'}"
        attached = _load(folder / "repositories.json")["attached"] if (folder / "repositories.json").exists() else {}
        for uid, place in attached.items():
            known = repositories.get(uid)
            if known is None or f"servers/{host}" not in known.servers or known.path != place["path"]:
                yield f"{host} has {place['repository']} attached at {place['path']}, which is not recorded"


def marks_of_successes(records: Records, world: World) -> Iterator[str]:
    """Whatever an action made bears the mark of a step that is done, or whose undo made it again (P9)."""
    undone = {
        effect.step_key
        for ledger in records.ledgers.values()
        for effect in ledger.effects
        if effect.phase == participant.PHASE_UNDO and effect.done
    }
    for thing, mark in world.marks():
        number, _, reference = mark.partition("/")
        operation = records.operations.get(int(number))
        if operation is None:
            yield f"{thing} has the mark {mark} of no operation"
        elif operation.record.state in _KEPT or records.is_taken_over(operation) or mark in undone:
            continue
        elif not _made_again(operation, reference, records):
            yield f"{thing} was made by {operation.name} step {reference}, and that operation left nothing"


def _made_again(operation: Operation, reference: str, records: Records) -> bool:
    """Tell whether undoing a step made what it had removed, where that is settled and its ledger may have forgotten."""
    ref = operation.shape.steps.get(reference)
    if ref is None or operation.record.steps[reference].state != job_pb2.STEP_STATE_UNDONE:
        return False
    ledger = records.ledgers.get(ref.step.participant.split("/")[-1])
    settled = ledger is not None and operation.number < ledger.settled_below
    return settled and ref.step.undo.TypeName().rpartition(".")[2].startswith(_MAKING)


CHECKS = (
    storage_as_recorded,
    clusters_as_recorded,
    guests_as_recorded,
    hosts_as_recorded,
    marks_of_successes,
)
"""What holds where nothing runs."""


def _by_uid(records: Records, kind: str) -> Mapping[str, Any]:
    return {one.uid: one for name, one in records.objects.items() if collection_of(name) == kind}


def _paths(found: Mapping[str, tuple[Path, Any]]) -> dict[str, str]:
    return {uid: str(path) for uid, (path, _) in found.items()}


def _both(what: str, recorded: Mapping[Any, Any], there: Mapping[Any, Any]) -> Iterator[str]:
    """Yield where what is recorded and what is there differ, by their keys and values."""
    for key in sorted(recorded.keys() | there.keys(), key=str):
        if key not in there:
            yield f"the {what} {key} is recorded ({recorded[key]}) and not there"
        elif key not in recorded:
            yield f"the {what} {key} is there ({there[key]}) and not recorded"
        elif recorded[key] != there[key]:
            yield f"the {what} {key} is recorded as {recorded[key]}, and is {there[key]}"


def _claim(host: Path) -> Mapping[str, Any]:
    claim: Mapping[str, Any] = _load(host / "claim.json")
    return claim


def _load(path: Path) -> Any:
    return json.loads(path.read_text())
