"""Flags: what a request message asks for on the command line.

A message inside the request is flattened: `virtual_machine.memory_bytes` becomes `--memory`. A resource that comes
beside the one the request is about keeps its name in front, as `--heartbeat-device-path`. A repeated message is one
flag with keys, as `--disk repository=shared,size=1G`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from virtyard_client.schema.model import Field, Kind, Message, Unit
from virtyard_client.schema.schema import Schema

RESERVED = frozenset({"help", "json", "wait", "no-wait", "timeout", "context", "limit", "output", "columns"})
_WAITING = frozenset({"wait", "no-wait"})
"""Flags of the command line itself; a field of such a name gets `request-` in front."""

REQUEST = "google.protobuf.Any"
"""The type of a field that holds the request of another method; its flag takes the words of that command."""

_STANDARD = frozenset({"display_name", "labels", "description"})
"""What every resource has; of a secondary resource it is folded under Advanced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One thing that can be given on the command line, and where in the request it goes."""

    name: str
    """The name without hyphens in front, as memory."""
    path: tuple[str, ...]
    """The field in the request, as (virtual_machine, memory_bytes)."""
    field: Field
    """What the schema says of that field."""
    required: bool = False
    """True if the command cannot do without."""
    advanced: bool = False
    """True if help folds it under Advanced."""
    keys: tuple[Flag, ...] = ()
    """The keys of one item, where the field is a repeated message."""
    oneof: tuple[str, ...] = ()
    """Path of the oneof that the field belongs to; only one member may be given."""

    @property
    def shown(self) -> str:
        """The flag as people type it: --memory, or NAME for what is given by place."""
        return self.metavar if self.field.positional else f"--{self.name}"

    @property
    def metavar(self) -> str:
        """The word that stands for the value in help."""
        if self.field.positional:
            return self.name.upper()
        return metavar(self)


def metavar(flag: Flag) -> str:
    """The word that stands for a flag's value in help, by what it holds."""
    field = flag.field
    if field.unit is Unit.BYTES:
        return "SIZE"
    if field.unit is Unit.SECONDS or field.kind is Kind.DURATION:
        return "SPAN"
    if field.reference:
        return "NAME"
    if field.upload:
        return "FILE"
    words = {
        Kind.TEXT: "TEXT",
        Kind.WHOLE: "N",
        Kind.REAL: "X",
        Kind.CHOICE: "WORD",
        Kind.BINARY: "BASE64",
        Kind.MESSAGE: "KEY=VALUE,...",
        Kind.TIME: "TIME",
        Kind.MASK: "FIELD,...",
        Kind.MAP: "KEY=VALUE",
        Kind.OPAQUE: "COMMAND",
    }
    return words.get(field.kind, "TEXT")


def flags_of(schema: Schema, request: str) -> tuple[Flag, ...]:
    """All flags of a request message, in the order of the proto.

    Raises:
        KeyError: the schema does not know the message.
    """
    message = schema.message(request)
    plain = list(_flatten(schema, message, (), (), advanced=False, beside_id=_has_id(message)))
    # Only what submits an operation is waited for by the command line itself.
    return _settle(plain, reserved=RESERVED if message.field("options") else RESERVED - _WAITING)


def _has_id(message: Message) -> bool:
    """True for a request that makes a new resource: AIP-133 puts a `<resource>_id` beside it."""
    names = {field.name for field in message.fields}
    return any(field.kind is Kind.MESSAGE and f"{field.name}_id" in names for field in message.fields)


def _flatten(
    schema: Schema,
    message: Message,
    path: tuple[str, ...],
    prefix: tuple[str, ...],
    *,
    advanced: bool,
    beside_id: bool,
    inside_required: bool = True,
) -> Iterator[Flag]:
    secondary = bool(prefix)
    for field in message.fields:
        if field.output_only or field.identifier or (field.kind is Kind.OPAQUE and field.type_name != REQUEST):
            continue
        if path and message.resource and field.name == "etag" and beside_id:
            continue
        folded = advanced or field.advanced or (secondary and field.name in _STANDARD)
        place = (*path, field.name)
        if field.settable:
            yield from _changes(schema, field)
            continue
        if field.kind is Kind.MESSAGE and not field.repeated:
            inner = schema.message(field.type_name)
            if inner.full_name == message.full_name or len(path) > 4:
                continue
            front = (*prefix, field.flag or _kebab(field.name)) if inner.resource and not field.required else prefix
            yield from _flatten(
                schema,
                inner,
                place,
                front,
                advanced=folded,
                beside_id=beside_id,
                inside_required=inside_required and field.required,
            )
            continue
        keys: tuple[Flag, ...] = ()
        if field.kind is Kind.MESSAGE:
            inner = schema.message(field.type_name)
            keys = _settle(list(_flatten(schema, inner, (), (), advanced=False, beside_id=True)), reserved=frozenset())
        yield Flag(
            name="-".join((*prefix, field.flag or _flag_name(field))),
            path=place,
            field=field,
            required=field.required and inside_required,
            advanced=folded,
            keys=keys,
            oneof=(*path, field.oneof) if field.oneof else (),
        )


def _changes(schema: Schema, changed: Field) -> Iterator[Flag]:
    """The flags of an object that is to be changed: its name by place, what may be changed, and its etag."""
    message = schema.message(changed.type_name)
    for field in message.fields:
        if field.identifier:
            by_place = replace(field, positional=True, required=True, identifier=False, reference=message.resource)
            yield Flag(name=field.name, path=(changed.name, field.name), field=by_place, required=True)
    only = replace(message, fields=tuple(field for field in message.fields if field.name in changed.settable))
    yield from _flatten(schema, only, (changed.name,), (), advanced=False, beside_id=False, inside_required=False)
    etag = message.field("etag")
    if etag is not None:
        yield Flag(name="etag", path=(changed.name, "etag"), field=etag, advanced=True)


def _settle(flags: list[Flag], *, reserved: frozenset[str] = RESERVED) -> tuple[Flag, ...]:
    """Give every flag a name of its own: of two alike, the later one gets its message's name in front."""
    taken: set[str] = set()
    settled: list[Flag] = []
    for flag in flags:
        name = flag.name
        if name in reserved:
            name = f"request-{name}"
        if name in taken:
            name = "-".join(_kebab(part) for part in flag.path)
        taken.add(name)
        settled.append(flag if name == flag.name else replace(flag, name=name))
    return tuple(settled)


def _flag_name(field: Field) -> str:
    """The field's name with hyphens; its unit is left out where the value carries it."""
    name = _kebab(field.name)
    ending = {Unit.BYTES: "-bytes", Unit.SECONDS: "-seconds"}.get(field.unit, "")
    return name.removesuffix(ending) if ending else name


def _kebab(name: str) -> str:
    return name.replace("_", "-")
