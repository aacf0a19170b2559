"""The schema: a set of file descriptors with their comments, read on demand and indexed by full name.

It works on descriptor protos and never builds a descriptor pool: help texts and flags need neither message classes
nor grpc.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from google.api import field_behavior_pb2, resource_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from virtyard.api.type.v1 import annotations_pb2
from virtyard_client.schema.model import EnumType, EnumValue, Field, Kind, Message, Method, Unit

_F = FieldDescriptorProto
_WELL_KNOWN = {
    ".google.protobuf.Timestamp": Kind.TIME,
    ".google.protobuf.Duration": Kind.DURATION,
    ".google.protobuf.FieldMask": Kind.MASK,
}
_SCALARS = {
    _F.TYPE_STRING: Kind.TEXT,
    _F.TYPE_BOOL: Kind.TRUTH,
    _F.TYPE_ENUM: Kind.CHOICE,
    _F.TYPE_BYTES: Kind.BINARY,
    _F.TYPE_DOUBLE: Kind.REAL,
    _F.TYPE_FLOAT: Kind.REAL,
}
_INT32, _INT64 = (-(1 << 31), (1 << 31) - 1), (-(1 << 63), (1 << 63) - 1)
_UINT32, _UINT64 = (0, (1 << 32) - 1), (0, (1 << 64) - 1)
_BOUNDS = {
    _F.TYPE_INT32: _INT32,
    _F.TYPE_SINT32: _INT32,
    _F.TYPE_SFIXED32: _INT32,
    _F.TYPE_INT64: _INT64,
    _F.TYPE_SINT64: _INT64,
    _F.TYPE_SFIXED64: _INT64,
    _F.TYPE_UINT32: _UINT32,
    _F.TYPE_FIXED32: _UINT32,
    _F.TYPE_UINT64: _UINT64,
    _F.TYPE_FIXED64: _UINT64,
}
# Google's stubs do not say which options an extension extends.
_RESOURCE: Any = resource_pb2.resource
_REFERENCE: Any = resource_pb2.resource_reference
_BEHAVIOUR: Any = field_behavior_pb2.field_behavior
_UNITS = {unit.value: unit for unit in Unit}

RESOURCES = {"virtyard.io/Operation": "operations/{operation}"}
"""Patterns of resources that no proto of ours declares: the operation is google's message."""


class Schema:
    """Services, messages and enums of some proto files."""

    def __init__(self, files: Iterable[FileDescriptorProto]) -> None:
        self._files: dict[str, FileDescriptorProto] = {}
        self._places: dict[str, tuple[str, tuple[int, ...], Any]] = {}
        self._comments: dict[str, dict[tuple[int, ...], str]] = {}
        self._messages: dict[str, Message] = {}
        self._declared: list[Method] = []
        self._patterns: dict[str, str] | None = None
        for file in files:
            self.add(file)

    @classmethod
    def from_bytes(cls, *sets: bytes) -> Schema:
        """Read serialised `FileDescriptorSet`s."""
        return cls(file for data in sets for file in FileDescriptorSet.FromString(data).file)

    def add(self, file: FileDescriptorProto) -> None:
        """Take in one more file; a file that is known already stays as it is."""
        if file.name in self._files:
            return
        self._files[file.name] = file
        prefix = f".{file.package}" if file.package else ""
        for index, message in enumerate(file.message_type):
            self._index(file.name, message, f"{prefix}.{message.name}", (4, index))
        for index, enum in enumerate(file.enum_type):
            self._places[f"{prefix}.{enum.name}"] = (file.name, (5, index), enum)

    def _index(self, file: str, message: DescriptorProto, full_name: str, path: tuple[int, ...]) -> None:
        self._places[full_name] = (file, path, message)
        for index, nested in enumerate(message.nested_type):
            self._index(file, nested, f"{full_name}.{nested.name}", (*path, 3, index))
        for index, enum in enumerate(message.enum_type):
            self._places[f"{full_name}.{enum.name}"] = (file, (*path, 4, index), enum)

    def declare(self, methods: Iterable[Method], messages: Iterable[Message]) -> None:
        """Take in methods and messages that are written down in words because no proto of ours has them."""
        self._declared.extend(methods)
        self._messages.update((message.full_name, message) for message in messages)

    def __contains__(self, file: str) -> bool:
        return file in self._files

    def comment(self, file: str, path: tuple[int, ...]) -> str:
        """The comment at a source path of a file as one paragraph; empty without source info."""
        comments = self._comments.get(file)
        if comments is None:
            comments = self._comments[file] = {
                tuple(location.path): location.leading_comments
                for location in self._files[file].source_code_info.location
                if location.leading_comments
            }
        return " ".join(comments.get(path, "").split())

    def methods(self) -> Iterator[Method]:
        """Every rpc that has a `method_hint`, in the order of the files, and what was declared."""
        yield from self._declared
        for file in self._files.values():
            for place, service in enumerate(file.service):
                for index, rpc in enumerate(service.method):
                    if not rpc.options.HasExtension(annotations_pb2.method_hint):
                        continue
                    hint = rpc.options.Extensions[annotations_pb2.method_hint]
                    yield Method(
                        service=f"{file.package}.{service.name}" if file.package else service.name,
                        name=rpc.name,
                        request=rpc.input_type[1:],
                        response=rpc.output_type[1:],
                        streaming=rpc.server_streaming,
                        noun=hint.noun,
                        verb=hint.verb,
                        title=hint.title,
                        destructive=hint.destructive,
                        aliases=tuple(hint.noun_aliases),
                        comment=self.comment(file.name, (6, place, 2, index)),
                        file=file.name,
                    )

    def has_message(self, full_name: str) -> bool:
        """True if the message is described here."""
        return f".{full_name}" in self._places or full_name in self._messages

    def message(self, full_name: str) -> Message:
        """The message of that full name.

        Raises:
            KeyError: no file of the schema declares it.
        """
        found = self._messages.get(full_name)
        if found is None:
            file, path, proto = self._places[f".{full_name}"]
            found = self._messages[full_name] = Message(
                full_name=full_name,
                file=file,
                comment=self.comment(file, path),
                fields=tuple(
                    self._field(item, proto, self.comment(file, (*path, 2, index)))
                    for index, item in enumerate(proto.field)
                ),
                resource=proto.options.Extensions[_RESOURCE].type,
            )
        return found

    def enum(self, full_name: str) -> EnumType:
        """The enum of that full name.

        Raises:
            KeyError: no file of the schema declares it.
        """
        file, path, proto = self._places[f".{full_name}"]
        prefix = _enum_prefix(proto)
        return EnumType(
            full_name=full_name,
            values=tuple(
                EnumValue(
                    name=value.name,
                    short=value.name.removeprefix(prefix).lower().replace("_", "-"),
                    number=value.number,
                    comment=self.comment(file, (*path, 2, index)),
                )
                for index, value in enumerate(proto.value)
            ),
        )

    def pattern(self, resource: str) -> str:
        """The name pattern of a resource type, as `servers/{server}`; empty if no file declares it."""
        if self._patterns is None:
            self._patterns = dict(RESOURCES)
            for _, _, proto in self._places.values():
                if isinstance(proto, DescriptorProto) and proto.options.HasExtension(_RESOURCE):
                    option = proto.options.Extensions[_RESOURCE]
                    self._patterns[option.type] = option.pattern[0] if option.pattern else ""
        return self._patterns.get(resource, "")

    def _kind(self, field: FieldDescriptorProto) -> Kind:
        if field.type == _F.TYPE_MESSAGE:
            if field.type_name in _WELL_KNOWN:
                return _WELL_KNOWN[field.type_name]
            place = self._places.get(field.type_name)
            if place is None:
                return Kind.OPAQUE
            return Kind.MAP if place[2].options.map_entry else Kind.MESSAGE
        return _SCALARS.get(field.type, Kind.WHOLE)

    def _field(self, field: FieldDescriptorProto, owner: DescriptorProto, comment: str) -> Field:
        options = field.options
        behaviours = options.Extensions[_BEHAVIOUR]
        hint = options.Extensions[annotations_pb2.field_hint]
        kind = self._kind(field)
        in_oneof = field.HasField("oneof_index") and not field.proto3_optional
        return Field(
            name=field.name,
            kind=kind,
            type_name=field.type_name[1:],
            bounds=_BOUNDS.get(field.type),
            repeated=field.label == _F.LABEL_REPEATED and kind is not Kind.MAP,
            comment=comment,
            required=field_behavior_pb2.REQUIRED in behaviours,
            output_only=field_behavior_pb2.OUTPUT_ONLY in behaviours,
            identifier=field_behavior_pb2.IDENTIFIER in behaviours,
            reference=options.Extensions[_REFERENCE].type,
            oneof=owner.oneof_decl[field.oneof_index].name if in_oneof else "",
            flag=hint.flag,
            positional=hint.positional,
            advanced=hint.advanced,
            column=hint.column,
            unit=_UNITS.get(hint.unit, Unit.NONE),
            settable=tuple(hint.settable),
            upload=hint.upload,
        )


def _enum_prefix(enum: EnumDescriptorProto) -> str:
    """What all value names of the enum begin with, as DISK_ALLOCATION_: the unspecified value tells it."""
    first = enum.value[0].name
    return first.removesuffix("UNSPECIFIED") if first.endswith("_UNSPECIFIED") else ""
