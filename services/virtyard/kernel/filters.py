"""Filters over lists and watches: the part of AIP-160 that people use.

``state = RUNNING AND server_pool = "serverPools/Finance" AND NOT labels.env:test`` - comparisons ``= != < <= > >= :``,
``AND OR NOT``, parentheses; a bare word means that the name or display name contains it.
Source: https://google.aip.dev/160.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from virtyard.kernel.errors import InvalidRequest

_TOKEN = re.compile(r'\s*(?:(?P<punct>[()]|<=|>=|!=|[=<>:])|"(?P<text>(?:[^"\\]|\\.)*)"|(?P<word>[^\s()=<>!:"]+))')
_OPERATORS = frozenset({"=", "!=", "<", "<=", ">", ">=", ":"})
_LONGEST = 2000


def compile_filter(text: str, descriptor: Descriptor) -> Callable[[Message], bool]:
    """Return a predicate over messages of this type; an empty filter lets all pass.

    Raises:
        InvalidRequest: the filter cannot be read, or names a field that the type does not have.
    """
    if not text.strip():
        return lambda message: True
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

    def parse(self) -> Callable[[Message], bool]:
        predicate = self._either()
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

    def _either(self) -> Callable[[Message], bool]:
        parts = [self._all()]
        while self._peek() == ("word", "OR"):
            self._take()
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda message: any(part(message) for part in parts)

    def _all(self) -> Callable[[Message], bool]:
        parts = [self._unary()]
        while self._peek()[0] and self._peek() not in (("word", "OR"), ("punct", ")")):
            if self._peek() == ("word", "AND"):
                self._take()
            parts.append(self._unary())
        return parts[0] if len(parts) == 1 else lambda message: all(part(message) for part in parts)

    def _unary(self) -> Callable[[Message], bool]:
        kind, value = self._take()
        if (kind, value) == ("word", "NOT"):
            inner = self._unary()
            return lambda message: not inner(message)
        if (kind, value) == ("punct", "("):
            inner = self._either()
            if self._take() != ("punct", ")"):
                raise InvalidRequest.of("filter", "a closing parenthesis is missing")
            return inner
        if kind == "punct":
            raise InvalidRequest.of("filter", f"unexpected {value!r}")
        if self._peek()[0] == "punct" and self._peek()[1] in _OPERATORS:
            operator = self._take()[1]
            operand_kind, operand = self._take()
            if operand_kind == "punct":
                raise InvalidRequest.of("filter", f"a value must follow {value} {operator}")
            return _comparison(self._descriptor, value, operator, operand)
        return lambda message: any(value in getattr(message, field, "") for field in ("name", "display_name", "title"))


def _comparison(descriptor: Descriptor, path: str, operator: str, operand: str) -> Callable[[Message], bool]:
    names = path.split(".")
    field = descriptor.fields_by_name.get(names[0])
    if field is None:
        allowed = ", ".join(sorted(descriptor.fields_by_name))
        raise InvalidRequest.of("filter", f"there is no field {path!r}; allowed are {allowed}")
    if _is_map(field):
        return _map_comparison(names, operator, operand)
    for name in names[1:]:
        field = field.message_type.fields_by_name.get(name) if field and field.message_type else None
        if field is None:
            raise InvalidRequest.of("filter", f"there is no field {path!r}")
    wanted = _operand(field, path, operand)

    def matches(message: Message) -> bool:
        value: Any = message
        for name in names:
            value = getattr(value, name)
        if field.is_repeated:
            return any(_compare(item, operator, wanted) for item in value)
        return _compare(value.ToDatetime() if hasattr(value, "ToDatetime") else value, operator, wanted)

    return matches


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _map_comparison(names: list[str], operator: str, operand: str) -> Callable[[Message], bool]:
    if len(names) == 1:
        return lambda message: operand in getattr(message, names[0])
    key = ".".join(names[1:])
    return lambda message: _compare(getattr(message, names[0]).get(key, ""), operator, operand)


def _operand(field: FieldDescriptor, path: str, operand: str) -> Any:
    try:
        if field.enum_type is not None:
            return _enum_number(field, operand)
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return {"true": True, "false": False}[operand.lower()]
        if field.cpp_type in (FieldDescriptor.CPPTYPE_STRING,):
            return operand
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
            return datetime.fromisoformat(operand.replace("Z", "+00:00")).replace(tzinfo=None)
        return float(operand) if "." in operand else int(operand)
    except (KeyError, ValueError):
        raise InvalidRequest.of("filter", f"{operand!r} is not a value of {path}") from None


def _enum_number(field: FieldDescriptor, operand: str) -> int:
    wanted = operand.upper().replace("-", "_")
    for value in field.enum_type.values:
        if value.name == wanted or value.name.endswith("_" + wanted) and value.name.count("_") >= wanted.count("_"):
            prefix = value.name[: -len(wanted)].rstrip("_")
            if value.name == wanted or field.enum_type.values[0].name.startswith(prefix + "_UNSPECIFIED"):
                return int(value.number)
    raise ValueError(operand)


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
