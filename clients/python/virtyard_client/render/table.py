"""Tables: one line an object, columns by the proto's hints; cut to the terminal, whole when piped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from virtyard_client.command.usage import UsageError
from virtyard_client.render.event import badge
from virtyard_client.render.line import Line, Span, shorten
from virtyard_client.render.words import STYLES, show_value
from virtyard_client.schema.model import Field, Kind, Message
from virtyard_client.schema.schema import Schema

GAP = "  "
NARROW = 6
"""No column is made narrower than this."""


_NO_COLUMNS = frozenset({Kind.OPAQUE, Kind.MESSAGE})


def columns_of(message: Message) -> list[Field]:
    """The fields that a table of such messages shows."""
    chosen = [field for field in message.fields if field.column]
    return chosen or [field for field in message.fields if field.identifier or field.name == "name"]


def chosen_columns(message: Message, wanted: str) -> list[Field]:
    """The fields that --columns asks for, in its order; the usual ones if it is empty.

    Raises:
        UsageError: the message has no such field.
    """
    if not wanted:
        return columns_of(message)
    found = []
    for word in wanted.split(","):
        name = word.strip().replace("-", "_")
        field = message.field(name) or message.field(f"{name}_bytes")
        if field is None or field.kind in _NO_COLUMNS:
            allowed = ", ".join(each.name.replace("_", "-") for each in message.fields if each.kind not in _NO_COLUMNS)
            raise UsageError(f"--columns: there is no column {word.strip()!r}; there are {allowed}")
        found.append(field)
    return found


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, ellipsis: str = "…") -> list[Line]:
    """Rows under headers; with a width, the widest columns are cut until all fit."""
    widths = [max(len(header), *(len(row[place]) for row in rows)) for place, header in enumerate(headers)]
    if width is not None:
        while sum(widths) + len(GAP) * (len(widths) - 1) > width and max(widths) > NARROW:
            widths[widths.index(max(widths))] -= 1
    lines: list[Line] = [_line(headers, widths, ellipsis, header=True)]
    lines.extend(_line(row, widths, ellipsis, header=False) for row in rows)
    return lines


def _line(cells: Sequence[str], widths: Sequence[int], ellipsis: str, *, header: bool) -> Line:
    spans: list[Span] = []
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        gap = GAP if place < len(cells) - 1 else ""
        spans.append(
            Span(shorten(cell, width, ellipsis).ljust(width) + gap, "bold" if header else STYLES.get(cell, ""))
        )
    return tuple(spans)


def objects(
    schema: Schema,
    message: Message,
    items: Sequence[Any],
    width: int | None,
    ellipsis: str = "…",
    chosen: Sequence[Field] | None = None,
) -> list[Line]:
    """A table of messages of one type; unless columns were chosen, with who locks or holds each and its worst event."""
    columns = columns_of(message) if chosen is None else chosen
    has_activity = chosen is None and message.field("activity") is not None
    headers = [header(field) for field in columns] + (["LOCKED BY"] if has_activity else [])
    # A badge for what is wrong; where nothing is, no column says so.
    has_badge = has_activity and any(item.activity.open_events for item in items)
    held = message.field("held") if chosen is None and any(getattr(item, "held", 0) for item in items) else None
    rows = []
    for item in items:
        row = [show_value(schema, field, getattr(item, field.name), short=True) for field in columns]
        row += [locked_by(item.activity)] if has_activity else []
        row += [held_by(schema, held, item)] if held is not None else []
        rows.append([*row, badge(item.activity)] if has_badge else row)
    headers += ["HELD"] if held is not None else []
    return table([*headers, "EVENT"] if has_badge else headers, rows, width, ellipsis)


def header(field: Field) -> str:
    """A column's heading: the field's name in capitals, without the unit that its values carry."""
    return field.name.removesuffix("_bytes").replace("_", " ").upper()


def held_by(schema: Schema, field: Field, item: Any) -> str:
    """Why a job is set aside, and by whom or by which filter; empty while it is not."""
    return f"{schema.enum(field.type_name).short(item.held)} {item.hold.principal}".strip() if item.held else ""


def locked_by(activity: Any) -> str:
    """Who holds an object and what for, and how many wait for it."""
    holders = [lock for lock in activity.locked_by if not lock.waiting]
    waiters = len({lock.holder for lock in activity.locked_by if lock.waiting})
    seen: dict[str, str] = {}
    for lock in holders:
        seen.setdefault(lock.holder, f"{lock.holder} {lock.purpose}".strip())
    text = ", ".join(seen.values())
    if waiters:
        text = f"{text} (+{waiters} waiting)".strip()
    return text
