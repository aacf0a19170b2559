"""The public descriptor set as documentation: every name is explained in its own words, quantities with units."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

from virtyard.api.type.v1 import annotations_pb2

MESSAGE, ENUM, SERVICE, EXTENSION = (
    FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER,
    FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER,
    FileDescriptorProto.SERVICE_FIELD_NUMBER,
    FileDescriptorProto.EXTENSION_FIELD_NUMBER,
)
FIELD, NESTED, NESTED_ENUM, ONEOF = (
    DescriptorProto.FIELD_FIELD_NUMBER,
    DescriptorProto.NESTED_TYPE_FIELD_NUMBER,
    DescriptorProto.ENUM_TYPE_FIELD_NUMBER,
    DescriptorProto.ONEOF_DECL_FIELD_NUMBER,
)
VALUE, METHOD = EnumDescriptorProto.VALUE_FIELD_NUMBER, ServiceDescriptorProto.METHOD_FIELD_NUMBER

INTEGERS = {
    FieldDescriptorProto.TYPE_INT32,
    FieldDescriptorProto.TYPE_INT64,
    FieldDescriptorProto.TYPE_UINT32,
    FieldDescriptorProto.TYPE_UINT64,
    FieldDescriptorProto.TYPE_SINT32,
    FieldDescriptorProto.TYPE_SINT64,
    FieldDescriptorProto.TYPE_FLOAT,
    FieldDescriptorProto.TYPE_DOUBLE,
}
DURATION = r"\b(milli)?seconds?\b|\bminutes?\b|\bhours?\b|\bdays?\b"
"""What the comment of a duration says of its size: the type has no unit option."""
COUNTS = (
    r"\b(number|count|sum) of (the |its |a |an )?\w+",
    r"\bcounted from [01]\b",
    r"\ba (rising )?count\b",
    r"\bhow (many|often)\b",
    r"\bposition in the \w+",
    r"\bposition of the \w+('s)? (feed|ledger)\b",
    r"\bplain (number|weight)\b",
    r"\bprocess id\b",
)
"""How a comment says what a plain number counts; a word like token, place or most alone says nothing of it."""

STOP_WORDS = {"a", "an", "the", "of", "its", "this", "that", "is", "to", "or", "and", "for"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Documented:
    """One named thing of a proto file with its comment; `field` is set where it is a field."""

    name: str
    comment: str
    field: FieldDescriptorProto | None = None


class Walk:
    """One file's names in order, each with the comment found at its path in the source information."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self.file = file
        self.comments = {
            tuple(place.path): " ".join(f"{place.leading_comments} {place.trailing_comments}".split())
            for place in file.source_code_info.location
        }

    def at(self, name: str, path: tuple[int, ...], field: FieldDescriptorProto | None = None) -> Documented:
        """Return the thing at the path."""
        return Documented(name=name, comment=self.comments.get(path, ""), field=field)

    def in_enum(self, enum: EnumDescriptorProto, name: str, path: tuple[int, ...]) -> Iterator[Documented]:
        """Yield the enum and its values."""
        yield self.at(name, path)
        for number, value in enumerate(enum.value):
            yield self.at(f"{name}.{value.name}", (*path, VALUE, number))

    def in_message(self, message: DescriptorProto, name: str, path: tuple[int, ...]) -> Iterator[Documented]:
        """Yield the message, its fields, its written oneofs and what is nested in it; nothing for a map's entry."""
        if message.options.map_entry:
            return
        yield self.at(name, path)
        for number, field in enumerate(message.field):
            yield self.at(f"{name}.{field.name}", (*path, FIELD, number), field)
        synthetic = {field.oneof_index for field in message.field if field.proto3_optional}
        for number, oneof in enumerate(message.oneof_decl):
            if number not in synthetic:
                yield self.at(f"{name}.{oneof.name}", (*path, ONEOF, number))
        for number, nested in enumerate(message.nested_type):
            yield from self.in_message(nested, f"{name}.{nested.name}", (*path, NESTED, number))
        for number, enum in enumerate(message.enum_type):
            yield from self.in_enum(enum, f"{name}.{enum.name}", (*path, NESTED_ENUM, number))

    def __iter__(self) -> Iterator[Documented]:
        for number, message in enumerate(self.file.message_type):
            yield from self.in_message(message, message.name, (MESSAGE, number))
        for number, enum in enumerate(self.file.enum_type):
            yield from self.in_enum(enum, enum.name, (ENUM, number))
        for number, extension in enumerate(self.file.extension):
            yield self.at(extension.name, (EXTENSION, number), extension)
        for number, service in enumerate(self.file.service):
            yield self.at(service.name, (SERVICE, number))
            for place, method in enumerate(service.method):
                yield self.at(f"{service.name}.{method.name}", (SERVICE, number, METHOD, place))


def split_words(text: str) -> list[str]:
    """Split prose or an identifier of any case into lower-case words."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", text)]


def find_missing_unit(field: FieldDescriptorProto, comment: str) -> str | None:
    """Return the kind of quantity that the field holds if nothing gives its unit.

    What is measured in bytes, per cent or seconds has the unit option, which clients read; a duration's comment tells
    how long is meant; a plain number's comment tells what is counted.
    """
    hint = field.options.Extensions[annotations_pb2.field_hint]
    if field.type_name == ".google.protobuf.Duration":
        told = hint.unit or re.search(DURATION, comment, re.IGNORECASE)
        return None if told else "duration"
    if field.type not in INTEGERS or hint.unit:
        return None
    for suffix in ("bytes", "percent", "seconds"):
        if field.name == suffix or field.name.endswith(f"_{suffix}"):
            return suffix
    return None if any(re.search(count, comment, re.IGNORECASE) for count in COUNTS) else "count"


def find_faults(file: FileDescriptorProto) -> list[str]:
    """Say of each thing in the file what its comment lacks."""
    faults: list[str] = []
    seen: dict[str, str] = {}
    for thing in Walk(file):
        words = split_words(thing.comment)
        own = set(split_words(thing.name.rpartition(".")[2])) | STOP_WORDS
        if len(thing.comment.split()) < 4:
            faults.append(f"{thing.name}: a comment of at least four words is missing, there is {thing.comment!r}")
        elif set(words) <= own:
            faults.append(f"{thing.name}: the comment only repeats the name: {thing.comment!r}")
        twin = seen.setdefault(" ".join(words), thing.name) if words else thing.name
        if twin != thing.name:
            faults.append(f"{thing.name}: the comment is the one of {twin}: {thing.comment!r}")
        if thing.field is not None and (kind := find_missing_unit(thing.field, thing.comment)):
            faults.append(f"{thing.name}: a {kind} without its unit: {thing.comment!r}")
    return faults


def read_public_files() -> dict[str, FileDescriptorProto]:
    """Read the descriptor set that is shipped with the API, by path."""
    raw = resources.files("virtyard.api").joinpath("descriptor.binpb").read_bytes()
    return {file.name: file for file in FileDescriptorSet.FromString(raw).file}


FILES = read_public_files()


@pytest.mark.parametrize("path", sorted(FILES))
def test_every_name_is_explained_in_its_own_words(path: str) -> None:
    """Each rpc, message, field, enum and value has a sentence of its own, and each quantity has a unit."""
    assert find_faults(FILES[path]) == []


def test_descriptor_set_holds_the_public_api_alone() -> None:
    """The shipped set holds no file of google's and no internal one."""
    assert {path.split("/")[1] for path in FILES} == {"api"}


def make_file(*comments: tuple[tuple[int, ...], str], measured: bool = True) -> FileDescriptorProto:
    """Make a file with one message of two fields, commented as asked; the first one with its unit if `measured`."""
    file = FileDescriptorProto(name="virtyard/api/x/v1/x.proto")
    message = file.message_type.add(name="DiskSize")
    size = message.field.add(name="size_bytes", type=FieldDescriptorProto.TYPE_INT64)
    size.options.Extensions[annotations_pb2.field_hint].unit = (
        annotations_pb2.UNIT_BYTES if measured else annotations_pb2.UNIT_UNSPECIFIED
    )
    message.field.add(name="wait", type=FieldDescriptorProto.TYPE_MESSAGE, type_name=".google.protobuf.Duration")
    for path, comment in comments:
        file.source_code_info.location.add(path=path, leading_comments=comment)
    return file


def test_checks_report_missing_repeated_and_unitless_comments() -> None:
    """The walk sees the faults it is there for: none, the name again, twins, and quantities without units."""
    good = make_file(
        ((4, 0), " How large a disk is.\n"),
        ((4, 0, 2, 0), "What the guest sees, in bytes."),
        ((4, 0, 2, 1), "For at most ten seconds or so."),
    )
    bad = make_file(((4, 0), "The size of the disk"), ((4, 0, 2, 1), "The size of the disk"), measured=False)
    assert find_faults(good) == []
    assert [fault.split(" ")[0] + fault.partition(":")[2][:12] for fault in find_faults(bad)] == [
        "DiskSize: the comment",
        "DiskSize.size_bytes: a comment o",
        "DiskSize.size_bytes: a bytes wit",
        "DiskSize.wait: the comment",
        "DiskSize.wait: a duration ",
    ]


@pytest.mark.parametrize(
    ("name", "comment", "fault"),
    [
        ("queue_place", "The place in which the owner waits.", "count"),
        ("page_size", "At most 1000 of them in a page.", "count"),
        ("fencing_token", "The token that came with the grant.", "count"),
        ("slot", "The slot id of this member.", "count"),
        ("ledger_sequence", "The sequence that these facts reflect.", "count"),
        ("free_bytes", "What is free on the storage, in bytes.", "bytes"),
        ("done_percent", "How far it is, in per cent.", "percent"),
        ("io_timeout_seconds", "How long an answer may take, in seconds.", "seconds"),
        ("queue_place", "The place in the queue, counted from 1.", None),
        ("page_size", "The largest number of disks in a page.", None),
        ("process_id", "The process id of the guest on its host.", None),
        ("sequence", "The position in the inventory's feed of the last write.", None),
    ],
)
def test_a_number_says_what_it_counts(name: str, comment: str, fault: str | None) -> None:
    """Words that only sound like a unit do not pass, and what is measured has the option that clients read."""
    field = FieldDescriptorProto(name=name, type=FieldDescriptorProto.TYPE_INT64)
    assert find_missing_unit(field, comment) == fault
