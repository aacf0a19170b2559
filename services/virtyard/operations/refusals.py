"""Refusals that several operations share: each names the field of the request, the object and its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from google.protobuf.message import Message

from virtyard.kernel.errors import FieldViolation, WrongState

_MOST_NAMES = 10


def wrong_state(field: str, name: str, description: str) -> WrongState:
    """Return the refusal of an object that is not in the state that is asked for.

    Args:
        field: the request's field that led to it.
        name: the object's resource name.
        description: its state, and what is allowed.
    """
    return WrongState(
        f"{field}: {description}",
        resource=name,
        violations=(FieldViolation(field=field, description=description),),
        metadata={"field": field},
    )


def state_word(message: Message) -> str:
    """Return the state of an object as a word, as `stopped`."""
    state = cast("Any", message.DESCRIPTOR.fields_by_name["state"].enum_type)
    prefix = state.values_by_number[0].name.removesuffix("UNSPECIFIED")
    value = state.values_by_number[cast("Any", message).state].name.removeprefix(prefix)
    return "not known" if value == "UNSPECIFIED" else str(value).lower()


def listed(messages: Sequence[Message]) -> str:
    """Return the objects' names for a sentence; the first ten, and how many more there are."""
    return listed_names([str(cast("Any", message).name) for message in messages])


def listed_names(names: Sequence[str]) -> str:
    """Return names for a sentence; the first ten, and how many more there are."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
