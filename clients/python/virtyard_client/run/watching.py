"""`watch` of a noun: a table that redraws on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

from virtyard.api.type.v1 import watch_pb2
from virtyard_client.command.options import ExitCode
from virtyard_client.render.event import badge
from virtyard_client.render.line import Line, line
from virtyard_client.render.table import chosen_columns, locked_by, objects
from virtyard_client.render.words import show_value
from virtyard_client.run.reading import items_field
from virtyard_client.run.session import Session
from virtyard_client.schema.model import Field

_GONE = watch_pb2.FRAME_KIND_REMOVED


async def watch(session: Session) -> ExitCode:
    """Watch the objects of one kind until Ctrl-C, or for --timeout."""
    field = items_field(session)
    assert field is not None, "only kinds of objects are watched so"
    kind = session.schema.pattern(session.schema.message(field.type_name).resource).partition("/")[0]
    matching = f'kind = "{kind}"' + (f" AND ({session.request.filter})" if session.request.filter else "")
    seen = _Seen(session, field)
    try:
        async with asyncio.timeout(session.timeout), session.connect() as client:
            frames = client.watch_objects(matching)
            if session.screen.terminal and not session.structured:
                with session.screen.live(seen.lines):
                    async for frame in frames:
                        seen.take(frame)
            else:
                async for frame in frames:
                    seen.tell(frame)
    except TimeoutError:
        return ExitCode.SUCCEEDED
    return ExitCode.SUCCEEDED


class _Seen:
    """What a watch has seen so far."""

    def __init__(self, session: Session, field: Field) -> None:
        self._session = session
        self._message = session.schema.message(field.type_name)
        self._columns = chosen_columns(self._message, session.arguments.text("columns"))
        self._items: dict[str, Any] = {}

    def take(self, frame: Any) -> Any:
        """Take a frame over; return the object that it is about, if there is one."""
        which = frame.object.WhichOneof("object")
        item = getattr(frame.object, which) if which else None
        if frame.kind == _GONE:
            self._items.pop(frame.name, None)
        elif item is not None:
            self._items[frame.name] = item
        return item

    def lines(self) -> list[Line]:
        """Return the table as it is now."""
        items = [self._items[name] for name in sorted(self._items)]
        if not items:
            return [line("nothing yet")]
        screen = self._session.screen
        return objects(
            self._session.schema, self._message, items, screen.table_width, screen.signs.ellipsis, self._columns
        )

    def tell(self, frame: Any) -> None:
        """Print a frame; of an object that is known, only if what the table shows of it has changed."""
        if self._session.structured:
            if frame.kind != watch_pb2.FRAME_KIND_BOOKMARK:
                self._session.print_message(frame)
            return
        before = self._shown(self._items.get(frame.name))
        item = self.take(frame)
        if frame.kind == _GONE:
            self._session.screen.text(f"{frame.name}: gone")
        elif item is not None and (now := self._shown(item)) != before:
            changed = [f"{name} {value or '-'}" for name, value in now.items() if before.get(name, "") != value]
            self._session.screen.text(f"{frame.name}: {', '.join(changed)}")

    def _shown(self, item: Any) -> dict[str, str]:
        if item is None:
            return {}
        schema = self._session.schema
        shown = {
            field.name.replace("_", " "): show_value(schema, field, getattr(item, field.name), short=True)
            for field in self._columns
            if field.name != "name"
        }
        if hasattr(item, "activity"):
            shown["locked by"] = locked_by(item.activity)
            shown["event"] = badge(item.activity)
        return shown
