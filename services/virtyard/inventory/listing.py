"""Lists: pages of one kind in a stable order, each found by the key after which it begins, whatever its number.

A page token carries that key, the feed's position at the first page, and a digest of what was asked for: with another
filter or order it is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, cast

from google.protobuf.descriptor import Descriptor

from virtyard.inventory.model import Page, Place, Query, Reader, TypedObject
from virtyard.inventory.objects import row_of
from virtyard.inventory.projections import present
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.filters import compile_filter
from virtyard.kernel.names import kinds

__all__ = ["EVENTS", "page_token", "parse_place", "read_objects"]

EVENTS = "events"
"""The collection of the events, which are listed as objects are but stored apart."""

_LAST_CHARACTER = "\U0010ffff"
_LARGEST = 2**63 - 1
_CHUNK = 250

_SEQUENCE = "SELECT sequence FROM feed"
_BY_NAME = """
    SELECT name, uid, generation, writer, deleted, body, name FROM object
    WHERE deleted = 0 AND name > ? AND name < ? ORDER BY name LIMIT ?
"""
_BY_NAME_DESC = """
    SELECT name, uid, generation, writer, deleted, body, name FROM object
    WHERE deleted = 0 AND name > ? AND name < ? ORDER BY name DESC LIMIT ?
"""
_BY_DISPLAY_NAME = """
    SELECT name, uid, generation, writer, deleted, body, display_name FROM object
    WHERE deleted = 0 AND kind = ? AND (display_name, name) > (?, ?) ORDER BY display_name, name LIMIT ?
"""
_BY_DISPLAY_NAME_DESC = """
    SELECT name, uid, generation, writer, deleted, body, display_name FROM object
    WHERE deleted = 0 AND kind = ? AND (display_name, name) < (?, ?) ORDER BY display_name DESC, name DESC LIMIT ?
"""
_BY_CREATE_TIME = """
    SELECT name, uid, generation, writer, deleted, body, create_time FROM object
    WHERE deleted = 0 AND kind = ? AND (create_time, name) > (?, ?) ORDER BY create_time, name LIMIT ?
"""
_BY_CREATE_TIME_DESC = """
    SELECT name, uid, generation, writer, deleted, body, create_time FROM object
    WHERE deleted = 0 AND kind = ? AND (create_time, name) < (?, ?) ORDER BY create_time DESC, name DESC LIMIT ?
"""

_ORDERS = {
    ("display_name", False): (_BY_DISPLAY_NAME, ""),
    ("display_name", True): (_BY_DISPLAY_NAME_DESC, _LAST_CHARACTER),
    ("create_time", False): (_BY_CREATE_TIME, -_LARGEST),
    ("create_time", True): (_BY_CREATE_TIME_DESC, _LARGEST),
}


def parse_place(query: Query) -> Place:
    """Return where the page begins that a query asks for.

    Raises:
        InvalidRequest: the order is not known, or the page token is not one of this list.
    """
    column, descending = _order(query)
    if not query.page_token:
        return Place(column=column, descending=descending)
    try:
        text = base64.b64decode(query.page_token.encode(), altchars=b"-_", validate=True)
        digest, key, name, sequence = json.loads(text)
    except (binascii.Error, ValueError, TypeError):
        digest, key, name, sequence = "", None, "", 0
    sound = type(key) in (str, int) and type(name) is str and type(sequence) is int
    if digest != _digest(query) or not sound:
        raise InvalidRequest.of(
            "page_token", "must be the next_page_token of a page of this list, with the same filter and order_by"
        )
    return Place(column=column, descending=descending, key=key, name=name, sequence=sequence)


def read_objects(reader: Reader, query: Query, place: Place) -> Page:
    """Return a page of objects.

    Raises:
        InvalidRequest: the filter cannot be read.
    """
    matches = compile_filter(query.filter, cast("Descriptor", kinds()[query.collection].message.DESCRIPTOR))
    found = (item for item in _objects(reader, query, place) if matches(item[1]))
    return _page(reader, query, place, found)


def _page(reader: Reader, query: Query, place: Place, found: Iterator[tuple[Any, TypedObject]]) -> Page:
    sequence = place.sequence
    if sequence is None:
        (sequence,) = reader.execute(_SEQUENCE).fetchone()
    items = list(islice(found, query.size + 1))
    token = ""
    if len(items) > query.size:
        del items[query.size :]
        key, last = items[-1]
        token = page_token(query, key, last.name, sequence)
    return Page(items=[item for _, item in items], next_page_token=token, sequence=sequence)


def page_token(query: Query, key: Any, name: str, sequence: int) -> str:
    """Return the token of the page that follows an item.

    Args:
        query: what is listed.
        key: the value of the ordering column of the item.
        name: the item's name.
        sequence: the position of the feed at the first page.
    """
    text = json.dumps([_digest(query), key, name, sequence], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode()


def _objects(reader: Reader, query: Query, place: Place) -> Iterator[tuple[Any, TypedObject]]:
    """Yield (key, object) from the place on, read in chunks as they are wanted."""
    key, name = place.key, place.name
    chunk = min(query.size + 1, _CHUNK)
    while True:
        rows = _chunk(reader, query.collection, replace(place, key=key, name=name), chunk)
        objects = present(reader, (row_of(columns[:6]) for columns in rows))
        yield from zip((columns[6] for columns in rows), objects, strict=True)
        if len(rows) < chunk:
            return
        key, name, chunk = rows[-1][6], rows[-1][0], _CHUNK


def _chunk(reader: Reader, kind: str, place: Place, limit: int) -> list[Any]:
    key, name = place.key, place.name
    if place.column == "name":
        low, high = f"{kind}/", f"{kind}0"
        if place.descending:
            return reader.execute(_BY_NAME_DESC, (low, name or high, limit)).fetchall()
        return reader.execute(_BY_NAME, (name or low, high, limit)).fetchall()
    statement, first = _ORDERS[place.column, place.descending]
    if key is None:
        key, name = first, _LAST_CHARACTER if place.descending else ""
    return reader.execute(statement, (kind, key, name, limit)).fetchall()


def _order(query: Query) -> tuple[str, bool]:
    columns = ("name", "create_time") if query.collection == EVENTS else ("name", "display_name", "create_time")
    if not query.order_by.strip():
        return "name", query.collection == EVENTS
    column, *direction = query.order_by.split()
    if column not in columns or direction not in ([], ["asc"], ["desc"]):
        allowed = ", ".join(columns)
        raise InvalidRequest.of(
            "order_by", f"{query.order_by!r} is not allowed; allowed are {allowed}, with desc behind"
        )
    return column, direction == ["desc"]


def _digest(query: Query) -> str:
    asked = json.dumps([query.collection, query.filter, query.order_by, *filter(None, [query.within, query.archived])])
    return hashlib.blake2s(asked.encode(), digest_size=6).hexdigest()
