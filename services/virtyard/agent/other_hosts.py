"""Other hosts: what one that is proven dead left on storage that is reached from here, found by its mark (P17).

Nothing is begun for it: what is half done is removed, and an undo is carried out. Both touch only what carries the mark
of the step, and may be asked for again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from virtyard.agent.actions.catalogue import AnyAction
from virtyard.agent.actions.contract import Context, Host, LeftBehindError
from virtyard.agent.ledger import Describe
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import annotations_pb2
from virtyard.kernel.any import type_of, unpack
from virtyard.kernel.effects import payload
from virtyard.kernel.errors import InvalidRequest, Unsupported
from virtyard.kernel.options import action_hint, descriptor_of

__all__ = ["OtherHosts"]

_AT_ONCE = 4


class OtherHosts:
    """Looks for what effects of other hosts came to."""

    def __init__(self, catalogue: Mapping[str, AnyAction], host: Host, describe: Describe) -> None:
        """Look with these actions, on what this host reaches."""
        self._catalogue = catalogue
        self._host = host
        self._describe = describe
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def look_for(self, effect: participant.Effect) -> participant.EffectRecord:
        """Return what an effect came to: done, not begun as nothing of it is left, or what is left of it.

        Raises:
            InvalidRequest: it is on its own host alone.
            VirtyardError: it cannot be found out here, as the storage is not reached; nothing is concluded.
        """
        asked = unpack(payload(effect))
        action = self._catalogue.get(type_of(payload(effect)))
        if action is None:
            raise Unsupported(f"this agent has no action for {type_of(payload(effect))}")
        if action_hint(descriptor_of(action.message)).domain != annotations_pb2.EFFECT_DOMAIN_STORAGE:
            raise InvalidRequest.of("effect", f"{action.message.__name__} is on a host alone; allowed is storage")
        if reason := action.unsupported(self._host):
            raise Unsupported(reason)
        context = Context(
            host=self._host,
            mark=effect.step_key,
            undoing=effect.phase == participant.PHASE_UNDO,
            progress=lambda done, total, stage: None,  # noqa: ARG005 - nobody listens
        )
        record = participant.EffectRecord(step_key=effect.step_key, state=participant.EFFECT_STATE_NOT_BEGUN)
        async with self._turn:
            try:
                outcome = await action.probe(asked, context)
                if outcome is None and context.undoing:
                    outcome = await action.do(asked, context)
            except LeftBehindError as error:
                record.state = participant.EFFECT_STATE_RESIDUE
                record.error.CopyFrom(self._describe(error.error))
                record.residue.extend(error.residue)
                return record
        if outcome is not None:
            record.state, record.changed = participant.EFFECT_STATE_DONE, outcome.changed
            if outcome.result is not None:
                record.result.Pack(outcome.result)
        return record
