"""The vocabulary of the schema: methods, messages, fields and enums as the command line needs them.

Everything here is a value made from a descriptor; nothing knows how a flag is spelt or how a table looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a field holds, as far as reading it from text is concerned."""

    TEXT = "text"
    """A string."""
    WHOLE = "whole number"
    """An integer of any width."""
    REAL = "number"
    """A float or double."""
    TRUTH = "yes or no"
    """A bool."""
    CHOICE = "choice"
    """An enum."""
    BINARY = "bytes"
    """Raw bytes."""
    MESSAGE = "message"
    """Any message that is none of the kinds below."""
    TIME = "time"
    """google.protobuf.Timestamp."""
    DURATION = "duration"
    """google.protobuf.Duration."""
    MASK = "field mask"
    """google.protobuf.FieldMask."""
    MAP = "map"
    """A map of text to text."""
    OPAQUE = "opaque"
    """A message that has no text form here, as google.protobuf.Any."""


class Unit(Enum):
    """The unit of a number, as `virtyard.api.type.v1.Unit` has it."""

    NONE = 0
    """A plain number."""
    BYTES = 1
    """Bytes of memory or storage."""
    PERCENT = 2
    """Per cent, 0 to 100."""
    SECONDS = 3
    """Seconds of elapsed time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a message."""

    name: str
    """The name in the proto."""
    kind: Kind
    """What it holds."""
    type_name: str = ""
    """Full name of its message or enum; empty for a scalar."""
    bounds: tuple[int, int] | None = None
    """The smallest and largest value of an integer."""
    repeated: bool = False
    """True for a list; a map is no list."""
    comment: str = ""
    """Its comment in the proto, one paragraph."""
    required: bool = False
    """REQUIRED by field_behavior."""
    output_only: bool = False
    """OUTPUT_ONLY by field_behavior: never asked for."""
    identifier: bool = False
    """IDENTIFIER by field_behavior: the resource's own name."""
    reference: str = ""
    """The resource type that it names, as virtyard.io/Server; empty if none."""
    oneof: str = ""
    """The oneof that it is a member of; empty if none."""
    flag: str = ""
    """The flag's name where the proto chooses one."""
    positional: bool = False
    """True if its value is given by place."""
    advanced: bool = False
    """True if its flag is folded under Advanced."""
    column: bool = False
    """True if a table has a column for it."""
    unit: Unit = Unit.NONE
    """The unit of the number."""
    settable: tuple[str, ...] = ()
    """Of an object that is to be changed, the fields that the request may change."""
    upload: bool = False
    """True if it names an upload, for which a local file can be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message type."""

    full_name: str
    """As virtyard.api.inventory.v1.VirtualMachine."""
    file: str
    """The proto that declares it."""
    comment: str
    """Its comment in the proto."""
    fields: tuple[Field, ...]
    """Its fields, in the order of the proto."""
    resource: str = ""
    """The resource type if it is one, as virtyard.io/Server."""

    def field(self, name: str) -> Field | None:
        """The field of that name, or None."""
        return next((item for item in self.fields if item.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnumValue:
    """One value of an enum."""

    name: str
    """The full name, as DISK_ALLOCATION_FULL."""
    short: str
    """What people type and read, as full."""
    number: int
    """The number on the wire."""
    comment: str
    """Its comment in the proto."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnumType:
    """An enum type."""

    full_name: str
    """As virtyard.api.inventory.v1.DiskAllocation."""
    values: tuple[EnumValue, ...]
    """All values, the unspecified one included."""

    @property
    def choices(self) -> tuple[EnumValue, ...]:
        """The values that can be asked for: all but the unspecified one."""
        return tuple(value for value in self.values if value.number)

    def short(self, number: int) -> str:
        """The short name of a number; the number itself if this client does not know it; empty for unspecified."""
        if not number:
            return ""
        return next((value.short for value in self.values if value.number == number), str(number))


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """An rpc that the command line offers as noun and verb."""

    service: str
    """Full name of the service."""
    name: str
    """The rpc's own name."""
    request: str
    """Full name of the request message."""
    response: str
    """Full name of the response message."""
    streaming: bool = False
    """True if it answers with a stream."""
    noun: str
    """The first word of the command."""
    verb: str
    """The second word of the command."""
    title: str = ""
    """The title of the operation; empty for what is none."""
    destructive: bool = False
    """True where the console asks again."""
    aliases: tuple[str, ...] = ()
    """Other nouns that mean the same."""
    comment: str = ""
    """Its comment in the proto."""
    file: str = ""
    """The proto that declares the service."""

    @property
    def path(self) -> str:
        """The path on the wire, as /package.Service/Method."""
        return f"/{self.service}/{self.name}"

    @property
    def full_name(self) -> str:
        """As package.Service.Method."""
        return f"{self.service}.{self.name}"
