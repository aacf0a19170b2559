"""Through another member: what a dead host did on shared storage is looked for, and undone, by another host (P17).

The other one refuses the key for itself, finds the mark or removes what is half done, and carries undos out. Only a
server that the repository is presented to is asked, and no one that has lost its storage: an empty folder in the place
of one that is not mounted would tell that nothing was done. For a slot of a cluster the other servers of the pool are
asked, which say nothing where they do not find the heartbeat device.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import grpc
import grpc.aio

from virtyard.api.inventory.v1 import repository_pb2, server_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.participant.v1 import participant_service_pb2_grpc as participant_grpc
from virtyard.kernel.any import unpack
from virtyard.kernel.effects import operation_number, payload
from virtyard.kernel.errors import VirtyardError
from virtyard.kernel.names import collection_of
from virtyard.kernel.view import View, select
from virtyard.runtime.status import named, peer_cancels_named

__all__ = ["Members"]

_TIMEOUT = 120.0
"""Seconds for one answer: giving an image its old size back may write much."""
_ABLE = frozenset({server_pb2.SERVER_STATE_ONLINE, server_pb2.SERVER_STATE_UNSPECIFIED})
_log = logging.getLogger(__name__)


class Members:
    """Asks other members of a repository, or of a pool, what effects came to."""

    def __init__(
        self,
        view: Callable[[Sequence[participant.Selection]], Awaitable[View]],
        reached: Callable[[str], Awaitable[grpc.aio.Channel]],
    ) -> None:
        """Look up in the inventory who shares the storage, and ask on channels that `reached` gives."""
        self._view = view
        self._reached = reached
        self._unanswered: dict[str, dict[str, str]] = {}

    def why_not(self, dead: str, operation: int) -> str:
        """Return why a step of an operation on a dead server is not settled yet; empty if none was asked about."""
        steps = self._unanswered.get(dead, {})
        return next((why for key, why in steps.items() if operation_number(key) == operation), "")

    async def settle(self, dead: str, effect: participant.Effect) -> participant.EffectRecord | None:
        """Return what an effect of a dead host came to, by the word of another member; None if none can tell.

        Raises:
            Unavailable: the inventory cannot be reached.
        """
        what, members = await self._sharing(dead, effect)
        nobody = "no other server that is online has it presented, or is in the pool whose heartbeat device it is"
        refusals = []
        for member in members:
            try:
                record = await self._ask(member, effect)
            except VirtyardError as error:
                refusals.append(f"{member} could not tell: {error.message}")
                continue
            self._unanswered.get(dead, {}).pop(effect.step_key, None)
            _log.warning("%s of %s was settled through %s", effect.step_key, dead, member)
            return record
        told = "; ".join(refusals) or nobody
        what = what or "the storage that it is on"
        why = f"{dead} is proven dead, but what it did on {what} must be looked for by another server: {told}"
        self._unanswered.setdefault(dead, {})[effect.step_key] = why
        return None

    def forget(self, server: str) -> None:
        """Forget why steps of a server were not settled, as it is not proven dead any more."""
        self._unanswered.pop(server, None)

    async def _sharing(self, dead: str, effect: participant.Effect) -> tuple[str, list[str]]:
        """Return what an effect is on, "" if that is not known, and the other servers that may look."""
        asked = unpack(payload(effect))
        if getattr(asked, "device_uid", ""):
            return getattr(asked, "path", ""), await self._others_of_pool(dead)
        uid = getattr(asked, "repository_uid", "")
        names = {effect.target, *(lock.object for lock in effect.locks)}
        wanted = [select(name, "servers") for name in sorted(names) if collection_of(name) == "repositories"]
        if not wanted or not uid:
            return "", []
        view = await self._view(wanted)
        for repository in view.of(repository_pb2.Repository):
            if repository.uid == uid:
                return repository.name, [
                    server.name
                    for server in view.of(server_pb2.Server)
                    if server.name in repository.servers
                    and server.name not in {dead, *repository.lost_servers}
                    and server.state in _ABLE
                ]
        return "", []

    async def _others_of_pool(self, dead: str) -> list[str]:
        """Return the other servers of the pool of a server, which all reach its heartbeat device."""
        found = (await self._view([select(dead)])).find(dead, server_pb2.Server)
        if found is None or not found.server_pool:
            return []
        view = await self._view([select(found.server_pool, "servers@server_pool")])
        return [each.name for each in view.of(server_pb2.Server) if each.name != dead and each.state in _ABLE]

    async def _ask(self, member: str, effect: participant.Effect) -> participant.EffectRecord:
        request = participant.SettleRequest(
            step_key=effect.step_key,
            phase=effect.phase,
            attempt=effect.attempt,
            epoch=effect.epoch,
            stop=True,
            effect=effect,
        )
        stub = participant_grpc.ParticipantServiceStub(await self._reached(member))
        try:
            with peer_cancels_named():
                answer = await cast(Any, stub.Settle)(request, timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise named(error) from error
        record = cast(participant.EffectRecord, answer.record)
        record.ledger_sequence = 0  # it counts in another ledger than that of the dead host
        return record
