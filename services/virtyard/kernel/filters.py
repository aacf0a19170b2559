"""Filters over lists and watches: the part of AIP-160 that people use.

``state = RUNNING AND server_pool = "serverPools/Finance" AND NOT labels.env:test`` - comparisons ``= != < <= > >= :``,
``AND OR NOT -``, parentheses, ``field:*`` for what is set; a bare word means that a name, title or message contains it.
As the standard has it, OR binds more closely than AND: ``a AND b OR c`` is ``a AND (b OR c)``.
Source: https://google.aip.dev/160.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.options import is_map, is_repeated

_TIME = r"\d{4}-\d\d-\d\dT[0-9:.Z+-]+"
_TOKEN = re.compile(
    r'\s*(?:(?P<punct>[()]|<=|>=|!=|[=<>:])|"(?P<text>(?:[^"\\]|\\.)*)"|(?P<word>' + _TIME + r'|[^\s()=<>!:"]+))'
)
_OPERATORS = frozenset({"=", "!=", "<", "<=", ">", ">=", ":"})
_LONGEST = 2000
_DEEPEST = 50
_SEARCHED = ("name", "display_name", "title", "message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """One comparison that everything which a filter lets pass meets."""

    path: str
    """The field, as `object` or `labels.env`."""
    operator: str
    """One of `= != < <= > >= :`."""
    value: Any
    """What it is compared with: text, number, truth, time, or the number of an enum's value."""


def restrictions_of(text: str, descriptor: Descriptor) -> tuple[Sequence[Restriction], bool]:
    """Return the comparisons that a filter joins by AND, and whether they are all that it says.

    A store finds by them, through an index, what the whole filter is then asked about. Comparisons inside maps are left
    out of the first.

    Raises:
        InvalidRequest: as `compile_filter` does.
    """
    compile_filter(text, descriptor)
    if not text.strip():
        return (), True
    parser = _Parser(_tokens(text), descriptor)
    parser.parse()
    found = []
    for path, operator, operand in parser.joined:
        field = descriptor.fields_by_name.get(path)
        if field is not None and operand != "*" and not is_map(field):
            found.append(Restriction(path=path, operator=operator, value=_operand(field, path, operand)))
    return found, len(found) == parser.parts


# The same few are asked for with every event and every page.
@lru_cache(maxsize=256)
def compile_filter(text: str, descriptor: Descriptor) -> Callable[[Message], bool]:
    """Return a predicate over messages of this type; an empty filter lets all pass.

    Raises:
        InvalidRequest: the filter cannot be read, or names a field that the type does not have.
    """
    if not text.strip():
        return lambda _: True
    if len(text) > _LONGEST:
        raise InvalidRequest.of("filter", f"{len(text)} characters are too many; at most {_LONGEST} are allowed")
    return _Parser(_tokens(text), descriptor).parse()


def _tokens(text: str) -> list[tuple[str, str]]:
    found, position = [], 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise InvalidRequest.of("filter", f"cannot be read at {text[position:].strip()[:20]!r}")
        kind = str(match.lastgroup)
        value = match.group(kind)
        found.append((kind, re.sub(r"\\(.)", r"\1", value) if kind == "text" else value))
        position = match.end()
    return found


class _Parser:
    """Recursive descent over the tokens; each method reads one level of precedence."""

    def __init__(self, tokens: list[tuple[str, str]], descriptor: Descriptor) -> None:
        self._tokens = tokens
        self._descriptor = descriptor
        self._position = 0
        self._depth = 0
        self.joined: list[tuple[str, str, str]] = []
        """The plain comparisons among what is joined by AND at the top: path, operator, operand."""
        self.parts = 0
        """How much is joined by AND at the top."""

    def parse(self) -> Callable[[Message], bool]:
        predicate = self._all()
        if self._position < len(self._tokens):
            raise InvalidRequest.of("filter", f"unexpected {self._tokens[self._position][1]!r}")
        return predicate

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._position] if self._position < len(self._tokens) else ("", "")

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        if not token[0]:
            raise InvalidRequest.of("filter", "ends too early")
        self._position += 1
        return token

    def _all(self) -> Callable[[Message], bool]:
        parts = [self._part()]
        while self._peek()[0] and self._peek() != ("punct", ")"):
            if self._peek() == ("word", "AND"):
                self._take()
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else lambda message: all(part(message) for part in parts)

    def _part(self) -> Callable[[Message], bool]:
        """Read one of what is joined by AND; at the top, note a plain comparison."""
        begin = self._position
        part = self._either()
        if self._depth == 0:
            self.parts += 1
            read = self._tokens[begin : self._position]
            if len(read) == 3 and read[1][0] == "punct" and not read[0][1].startswith("-"):
                self.joined.append((read[0][1], read[1][1], read[2][1]))
        return part

    def _either(self) -> Callable[[Message], bool]:
        parts = [self._unary()]
        while self._peek() == ("word", "OR"):
            self._take()
            parts.append(self._unary())
        return parts[0] if len(parts) == 1 else lambda message: any(part(message) for part in parts)

    def _unary(self) -> Callable[[Message], bool]:
        kind, value = self._take()
        if (kind, value) in (("word", "NOT"), ("punct", "(")):
            return self._nested(value)
        if kind == "punct" or (kind, value) in (("word", "AND"), ("word", "OR")):
            raise InvalidRequest.of("filter", f"unexpected {value!r}")
        if kind == "word" and value.startswith("-") and len(value) > 1:
            denied = self._restriction(value[1:])
            return lambda message: not denied(message)
        return self._restriction(value)

    def _restriction(self, value: str) -> Callable[[Message], bool]:
        if self._peek()[0] == "punct" and self._peek()[1] in _OPERATORS:
            operator = self._take()[1]
            operand_kind, operand = self._take()
            if operand_kind == "punct":
                raise InvalidRequest.of("filter", f"a value must follow {value} {operator}")
            return _comparison(self._descriptor, value, operator, operand)
        return lambda message: any(value in getattr(message, field, "") for field in _SEARCHED)

    def _nested(self, opening: str) -> Callable[[Message], bool]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise InvalidRequest.of(
                "filter", f"parentheses and NOT are nested too deep; at most {_DEEPEST} are allowed"
            )
        if opening == "NOT":
            denied = self._unary()
            self._depth -= 1
            return lambda message: not denied(message)
        inner = self._all()
        if self._peek() != ("punct", ")"):
            raise InvalidRequest.of("filter", "a closing parenthesis is missing")
        self._take()
        self._depth -= 1
        return inner


def _comparison(descriptor: Descriptor, path: str, operator: str, operand: str) -> Callable[[Message], bool]:
    fields: list[FieldDescriptor] = []
    inside: Descriptor | None = descriptor
    names = path.split(".")
    for index, name in enumerate(names):
        field = inside.fields_by_name.get(name) if inside is not None else None
        if field is None:
            allowed = ", ".join(sorted(inside.fields_by_name)) if inside is not None else "none, as it has no fields"
            raise InvalidRequest.of("filter", f"there is no field {path!r}; allowed instead of {name!r} are {allowed}")
        fields.append(field)
        if is_map(field):
            return _map_comparison(fields, ".".join(names[index + 1 :]), operator, operand)
        inside = field.message_type if not _is_time(field) else None
    if operator == ":" and operand == "*":
        return lambda message: any(bool(value) for value in _values(message, fields))
    wanted = _operand(fields[-1], path, operand)

    def matches(message: Message) -> bool:
        values = [_plain(value) for value in _values(message, fields)]
        if operator == "!=":
            return all(value != wanted for value in values)
        return any(_compare(value, operator, wanted) for value in values)

    return matches


def _values(message: Any, fields: Sequence[FieldDescriptor]) -> Iterator[Any]:
    """Yield what the fields lead to: nothing for a message that is not set, each item of a repeated field."""
    if not fields:
        yield message
        return
    field, rest = fields[0], fields[1:]
    if field.message_type is not None and not is_repeated(field) and not message.HasField(field.name):
        return
    value = getattr(message, field.name)
    for item in value if is_repeated(field) else (value,):
        yield from _values(item, rest)


def _map_comparison(
    fields: Sequence[FieldDescriptor], key: str, operator: str, operand: str
) -> Callable[[Message], bool]:
    """Compare the value under a key, as `labels.env = prod`; without a key, tell whether the operand is one."""
    *above, last = fields

    def matches(message: Message) -> bool:
        maps = [getattr(owner, last.name) for owner in _values(message, above)]
        if not key:
            return any(operand in pairs for pairs in maps) != (operator == "!=")
        if operator == ":" and operand == "*":
            return any(key in pairs for pairs in maps)
        return any(_compare(pairs.get(key, ""), operator, operand) for pairs in maps)

    return matches


def _is_time(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp"


def _plain(value: Any) -> Any:
    return value.ToDatetime(tzinfo=UTC) if isinstance(value, Timestamp) else value


def _operand(field: FieldDescriptor, path: str, operand: str) -> Any:
    try:
        if field.enum_type is not None:
            return _enum_number(field.enum_type, operand)
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return {"true": True, "false": False}[operand.lower()]
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            return operand
        if _is_time(field):
            time = datetime.fromisoformat(operand)
            return time if time.tzinfo else time.replace(tzinfo=UTC)
        if field.message_type is not None:
            allowed = ", ".join(f"{path}.{name}" for name in sorted(field.message_type.fields_by_name))
            raise InvalidRequest.of("filter", f"{path} has fields of its own; allowed are {allowed}")
        return float(operand) if "." in operand else int(operand)
    except (KeyError, ValueError):
        raise InvalidRequest.of("filter", f"{operand!r} is not a value of {path}") from None


def _enum_number(values: EnumDescriptor, operand: str) -> int:
    """Return the number of a value, which may be written without the prefix that all values share."""
    wanted = operand.upper().replace("-", "_")
    prefix = values.values[0].name.removesuffix("UNSPECIFIED")
    found = values.values_by_name.get(wanted) or values.values_by_name.get(prefix + wanted)
    if found is None:
        raise ValueError(operand)
    return int(found.number)


def _compare(value: Any, operator: str, wanted: Any) -> bool:
    if operator == ":":
        return wanted in value if isinstance(value, str) else bool(value == wanted)
    if operator == "=":
        return bool(value == wanted)
    if operator == "!=":
        return bool(value != wanted)
    if operator == "<":
        return bool(value < wanted)
    if operator == "<=":
        return bool(value <= wanted)
    return bool(value > wanted) if operator == ">" else bool(value >= wanted)
