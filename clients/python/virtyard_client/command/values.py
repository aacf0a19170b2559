"""Values: from the words of the command line to what a protobuf field takes.

Every refusal says what is allowed; who calls adds the flag's name.
"""

from __future__ import annotations

import base64
import binascii
import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from virtyard_client.command import quantities
from virtyard_client.command.flags import Flag
from virtyard_client.schema.model import Field, Kind, Unit
from virtyard_client.schema.schema import Schema

_YES, _NO = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


class BadValueError(ValueError):
    """A word that a field cannot take; the message says what is allowed."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads words by the schema."""

    schema: Schema
    """Where enums and name patterns come from."""
    now: Callable[[], datetime] = _utc_now
    """The clock for times that are given from now."""
    request: Callable[[str], Any] | None = None
    """Reads the words of another command, where a field holds its request."""

    def read(self, flag: Flag, text: str) -> Any:
        """One value of a flag: a scalar, a time, a timedelta, a list of mask paths, a pair, or an item by field path.

        Raises:
            BadValueError: the text is not what the field takes.
        """
        if flag.keys:
            return self.read_item(flag, text)
        return self.read_field(flag.field, text)

    def read_field(self, field: Field, text: str) -> Any:
        """One value of a field that is no message of its own."""
        try:
            if field.kind in (Kind.WHOLE, Kind.REAL):
                return self._number(field, text)
            if field.kind is Kind.TEXT:
                return self.resolve(field.reference, text) if field.reference else text
            if field.kind is Kind.CHOICE:
                return self._choice(field, text)
            return self._other(field, text)
        except BadValueError:
            raise
        except ValueError as error:
            raise BadValueError(f"{error}, not {text!r}") from error

    def _other(self, field: Field, text: str) -> Any:
        match field.kind:
            case Kind.TRUTH:
                if text.lower() not in _YES | _NO:
                    raise ValueError("yes or no")
                return text.lower() in _YES
            case Kind.TIME:
                return quantities.read_time(text, self.now)
            case Kind.DURATION:
                return timedelta(seconds=float(quantities.read_seconds(text)))
            case Kind.MASK:
                return [part.strip() for part in text.split(",") if part.strip()]
            case Kind.MAP:
                key, equals, value = text.partition("=")
                if not equals or not key:
                    raise ValueError("KEY=VALUE")
                return key, value
            case Kind.BINARY:
                try:
                    return base64.b64decode(text, validate=True)
                except binascii.Error:
                    raise ValueError("bytes in base64") from None
            case Kind.OPAQUE if self.request is not None:
                return self.request(text)
        raise ValueError(f"nothing that can be typed ({field.type_name})")

    def _number(self, field: Field, text: str) -> int | float:
        value: int | float
        if field.unit is Unit.BYTES:
            value = quantities.read_bytes(text)
        elif field.unit is Unit.SECONDS:
            exact = quantities.read_seconds(text)
            if field.kind is Kind.WHOLE and exact != int(exact):
                raise ValueError("whole seconds")
            value = int(exact) if field.kind is Kind.WHOLE else float(exact)
        elif field.unit is Unit.PERCENT:
            value = quantities.read_percent(text)
            value = round(value) if field.kind is Kind.WHOLE else value
        else:
            try:
                value = int(text) if field.kind is Kind.WHOLE else float(text)
            except ValueError:
                raise ValueError("a whole number" if field.kind is Kind.WHOLE else "a number") from None
        if field.bounds and not field.bounds[0] <= value <= field.bounds[1]:
            raise ValueError(f"a number from {field.bounds[0]} to {field.bounds[1]}")
        return value

    def _choice(self, field: Field, text: str) -> int:
        choices = self.schema.enum(field.type_name).choices
        wanted = text.lower().replace("_", "-")
        for value in choices:
            if wanted in (value.short, value.name.lower().replace("_", "-")):
                return value.number
        raise ValueError(" or ".join(value.short for value in choices))

    def resolve(self, reference: str, text: str) -> str:
        """The full resource name of what may have been given as its last part only.

        Raises:
            BadValueError: it is a name of another kind.
        """
        pattern = self.schema.pattern(reference)
        # What stands in braces is filled in later, where a request is a template.
        if not pattern or pattern.count("{") != 1 or not text or text.startswith("{"):
            return text
        front = pattern.partition("{")[0]
        if "/" not in text:
            return front + text
        if not text.startswith(front) or "/" in text.removeprefix(front):
            raise BadValueError(f"{front}NAME or NAME, not {text!r}")
        return text

    def read_item(self, flag: Flag, text: str) -> Mapping[tuple[str, ...], Any]:
        """One item of a repeated message, given as key=value,key=value; a pair with a comma in it is double-quoted.

        Raises:
            BadValueError: a key is unknown, missing, given twice, or its value is wrong.
        """
        keys = {key.name: key for key in flag.keys}
        allowed = ", ".join(keys)
        item: dict[tuple[str, ...], Any] = {}
        for pair in next(csv.reader([text])) if text else ():
            name, equals, value = pair.partition("=")
            key = keys.get(name.strip())
            if key is None:
                raise BadValueError(f"KEY=VALUE,... with the keys {allowed}, not {name.strip()!r}")
            if not equals and key.field.kind is not Kind.TRUTH:
                raise BadValueError(f"{name}=VALUE, not {name!r} alone")
            try:
                read = self.read(key, value) if equals else True
            except BadValueError as error:
                raise BadValueError(f"for {name}, {error}") from error
            if key.field.repeated or key.field.kind is Kind.MAP:
                item.setdefault(key.path, []).append(read)
            elif key.path in item:
                raise BadValueError(f"{name} only once")
            else:
                item[key.path] = read
        missing = [key.name for key in flag.keys if key.required and key.path not in item]
        if missing:
            raise BadValueError(f"KEY=VALUE,... with {' and '.join(missing)} (keys: {allowed})")
        return item
