"""Advice: what a person does about a refusal, as the API says it beside each reason."""

from __future__ import annotations

from virtyard.api.type.v1 import error_reason_pb2

__all__ = ["advice"]

_REASONS = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name


def advice(reason: str) -> str:
    """Return what to do about errors of a reason, with the command that helps; empty if nothing is to be said."""
    value = _REASONS.get(f"ERROR_REASON_{reason}")
    if value is None:
        return ""
    remedy = value.GetOptions().Extensions[error_reason_pb2.remedy]
    return f"{remedy.text}: `{remedy.command}`" if remedy.command else remedy.text
