"""What an agent shows in metrics: its effects, its guests, and the members of its clusters as it sees them."""

from __future__ import annotations

from collections import Counter

from virtyard.agent.actions.contract import Host
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.runtime.metrics import Metrics

__all__ = ["observe_effect", "show_host"]

_KIND = "agent"
_STATE = "EFFECT_STATE_"


def observe_effect(metrics: Metrics, action: str, record: participant.EffectRecord, seconds: float | None) -> None:
    """Count an effect that has ended; `seconds` is None if its action was never begun."""
    state = participant.EffectState.Name(record.state).removeprefix(_STATE)
    metrics.effects.add(_KIND, action, state)
    if seconds is not None:
        metrics.effect_duration.observe(seconds, _KIND, action)


async def show_host(metrics: Metrics, host: Host, effects: int) -> None:
    """Set the gauges to what is on the host now, where so many effects are under way."""
    metrics.effects_running.set(effects)
    guests = Counter("running" if guest.running else "stopped" for guest in await host.hypervisor.guests())
    metrics.guests.replace({(state,): float(guests[state]) for state in ("running", "stopped")})
    members = Counter(view.state.value for view in host.heartbeat.members())
    metrics.cluster_members.replace({(state,): float(count) for state, count in members.items()})
