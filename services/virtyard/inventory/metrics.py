"""What the inventory shows in metrics: the effects that it carried out, and which servers report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.status import from_status

__all__ = ["ACTIONS", "observe_round", "show_servers"]

ACTIONS = frozenset({"RevertWrites", "WriteObjects"})
"""What the inventory can carry out; everything else is counted as `unknown`."""

_KIND = "inventory"
_EFFECT = "EFFECT_STATE_"
_SERVER = "SERVER_STATE_"


def observe_round(
    metrics: Metrics,
    effects: Sequence[participant.Effect],
    records: Sequence[participant.EffectRecord],
    seconds: float,
) -> None:
    """Count what came of effects that were carried out together in so many seconds."""
    for effect, record in zip(effects, records, strict=True):
        carried = effect.undo if effect.phase == participant.PHASE_UNDO else effect.do
        named = carried.type_url.rpartition(".")[2]
        action = named if named in ACTIONS else "unknown"
        state = participant.EffectState.Name(record.state).removeprefix(_EFFECT)
        metrics.effects.add(_KIND, action, state)
        metrics.effect_duration.observe(seconds, _KIND, action)
        if record.HasField("error"):
            metrics.note_violation(from_status(record.error))


def show_servers(metrics: Metrics, states: Iterable[int]) -> None:
    """Set the gauge to how many servers are in each state."""
    found = Counter(
        server_pb2.ServerState.Name(server_pb2.ServerState.ValueType(state)).removeprefix(_SERVER)
        for state in states
        if state >= 0
    )
    metrics.servers.replace({(state,): float(count) for state, count in found.items()})
