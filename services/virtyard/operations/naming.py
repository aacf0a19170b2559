"""What new objects are called: their ids, which must be free, and the names that people see."""

from __future__ import annotations

import unicodedata

from virtyard.kernel.errors import AlreadyExists, InvalidRequest
from virtyard.kernel.names import check_id, kind_of
from virtyard.kernel.view import View

LONGEST_DISPLAY_NAME = 128
_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})


def named(collection: str, identifier: str, field: str) -> str:
    """Return the resource name that an id gives.

    Raises:
        InvalidRequest: the id is not well formed; the refusal names `field`.
    """
    return f"{collection}/{check_id(identifier, field)}"


def check_free(view: View, name: str, field: str) -> None:
    """Refuse a name that an object bears.

    Raises:
        AlreadyExists: naming `field` and the object.
    """
    if view.exists(name):
        text = f"{field}: {kind_of(name).noun} {name} exists; choose an id that is free"
        raise AlreadyExists(text, resource=name, metadata={"field": field})


def display_name(wanted: str, identifier: str, field: str) -> str:
    """Return the name that people see: the wanted one, or the id.

    Raises:
        InvalidRequest: it is blank, too long, or has control characters.
    """
    return check_display_name(wanted, field) if wanted else identifier


def check_display_name(wanted: str, field: str) -> str:
    """Return a display name if it is 1 to 128 characters, not blank, without control characters.

    Raises:
        InvalidRequest: it is not; the refusal names `field`.
    """
    if not wanted.strip() or len(wanted) > LONGEST_DISPLAY_NAME:
        allowed = f"1 to {LONGEST_DISPLAY_NAME} characters, not all of them blank, are allowed"
        raise InvalidRequest.of(field, f"it has {len(wanted)} characters; {allowed}")
    if any(unicodedata.category(character) in _HIDDEN for character in wanted):
        raise InvalidRequest.of(field, "control characters and line breaks are not allowed")
    return wanted
