"""The values that the parts of an agent exchange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from virtyard.api.participant.v1 import participant_service_pb2 as participant

Listener = Callable[[participant.EffectReport], None]
"""Hears the news of effects; called on the event loop and must not wait."""


class Key(NamedTuple):
    """The key of an effect in the ledger."""

    step_key: str
    """Operation, job and step, as `12/3/1`."""
    phase: int
    """Done or undone, a `Phase`."""
    attempt: int
    """Which try of the step it is, from 1."""


class Verdict(Enum):
    """What the ledger makes of an effect that came."""

    BEGIN = "begin"
    """It is new, and durably accepted."""
    ATTACH = "attach"
    """It is under way already."""
    ANSWER = "answer"
    """It is over, or refused; the record says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done about one effect that came."""

    effect: participant.Effect
    """The effect."""
    verdict: Verdict
    """Begin, attach or answer."""
    record: participant.EffectRecord | None = None
    """The answer, where there is one."""


def key_of(effect: participant.Effect) -> Key:
    """Return the key of an effect."""
    return Key(effect.step_key, int(effect.phase), effect.attempt)


def report_of(key: Key, record: participant.EffectRecord) -> participant.EffectReport:
    """Return the news that an effect ended."""
    phase = participant.Phase.ValueType(key.phase)
    return participant.EffectReport(step_key=key.step_key, phase=phase, attempt=key.attempt, result=record)
