"""The writes of one effect: staged as messages, then stored, each object once, with the generation raised by one.

An undo (`reverting`) applies the writes that were recorded as prior state, to objects that its operation wrote last and
to nothing else; what is already so is left alone (P9). It removes nothing that others have begun to refer to: they may,
once an operation's locks were broken, or a person has accepted what it left (P3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.api.inventory.v1 import event_pb2, object_pb2, server_pb2, write_objects_pb2
from virtyard.inventory.addresses import give_address
from virtyard.inventory.deaths import prove_death
from virtyard.inventory.life import Change
from virtyard.inventory.masks import check_paths, take_over
from virtyard.inventory.model import Reader, Row, TypedObject
from virtyard.inventory.objects import Link, links_of, read_referrers, read_row, remove_row, write_links, write_row
from virtyard.inventory.observations import (
    Observation,
    forget_observation,
    has_other_ledger,
    read_observation,
    write_observation,
)
from virtyard.inventory.projections import derived_fields, shown_by
from virtyard.kernel.errors import AlreadyExists, InvalidRequest, NotFound, WrongState
from virtyard.kernel.names import check_id, collection_of, id_of, kind_of, kinds, unwrap, wrap

__all__ = ["Writes"]


@dataclass(slots=True, kw_only=True)
class _Staged:
    """One object between what it was and what it will be."""

    row: Row | None
    """The row as it was, a tombstone too."""
    before: TypedObject | None
    """The object as it was; None if there was none."""
    now: TypedObject | None
    """The object as it will be; None if there will be none."""
    observation: Observation | None
    """What was known of a server by reports."""


class Writes:
    """Gathers the writes of one effect and stores them."""

    def __init__(
        self, reader: Reader, *, operation: int, now: Timestamp, reverting: bool = False, principal: str = ""
    ) -> None:
        """Begin with nothing staged.

        Args:
            reader: the transaction.
            operation: number of the operation whose effect it is.
            now: the time that changed objects will show.
            reverting: True for an undo.
            principal: who asked for the operation.
        """
        self._principal = principal
        self._reader = reader
        self._operation = operation
        self._now = now
        self._reverting = reverting
        self._staged: dict[str, _Staged] = {}
        self._inverse: list[write_objects_pb2.ObjectWrite] = []
        self.touched: dict[str, None] = {}
        """The objects that show something else than before, those that were written first."""
        self.rows: dict[str, Row | None] = {}
        """The rows that were stored; None for an object that is gone."""
        self.filled: dict[str, int] = {}
        """How much more is taken of each target than before, in bytes."""
        self.changes: list[Change] = []
        """What became of the objects whose configuration differs from before, in order."""
        self.events: list[event_pb2.Event] = []
        """What is to be told beside that."""

    @property
    def inverse(self) -> write_objects_pb2.WriteObjects:
        """Return the writes that put back what was there before."""
        return write_objects_pb2.WriteObjects(writes=reversed(self._inverse))

    @property
    def names(self) -> list[str]:
        """Return the objects that were written to, in order."""
        return list(self._staged)

    def stage(self, writes: Iterable[write_objects_pb2.ObjectWrite]) -> None:
        """Take the writes in their order.

        Raises:
            AlreadyExists: an object is to be made whose name is taken.
            NotFound: an object is to be changed or removed that does not exist.
            InvalidRequest: a write is malformed.
        """
        for number, write in enumerate(writes):
            field = f"do.writes[{number}]"
            match write.WhichOneof("write"):
                case "create":
                    self._create(write.create, f"{field}.create")
                case "update":
                    self._update(write.update, f"{field}.update")
                case "delete":
                    self._delete(write.delete)
                case _:
                    raise InvalidRequest.of(field, "one of create, update and delete is required")

    def store(self) -> bool:
        """Store what was staged and return whether anything changed.

        Raises:
            WrongState: an undo would remove what others refer to.
        """
        changed = False
        for name, staged in self._staged.items():
            if staged.now is not None:
                changed |= self._store_object(name, staged, staged.now)
            elif staged.before is not None:
                if self._reverting:
                    self._check_unused(staged.before)
                remove_row(self._reader, name, self._operation)
                self.rows[name] = None
                if staged.observation is not None:
                    forget_observation(self._reader, name)
                self._relate(name, staged)
                self.changes.append(Change(name=name, before=staged.before, now=None))
                changed = True
        return changed

    def _check_unused(self, removed: TypedObject) -> None:
        """Refuse to remove what another operation has had something refer to since it was made."""
        for row in read_referrers(self._reader, removed.name, self._operation):
            referrer: TypedObject = kind_of(row.name).message.FromString(row.body)
            if referrer.update_time.ToNanoseconds() > removed.create_time.ToNanoseconds():
                text = f"{removed.name} is not removed, as {row.name} has come to refer to it"
                raise WrongState(text, resource=removed.name)

    def _load(self, name: str) -> _Staged:
        staged = self._staged.get(name)
        if staged is None:
            row = read_row(self._reader, name)
            before: TypedObject | None = None
            observation = None
            if row is not None and not row.deleted:
                before = kind_of(name).message.FromString(row.body)
                before.ClearField("etag")  # a report left it; it is of the state that is written over now
                if collection_of(name) == "servers":
                    observation = read_observation(self._reader, name)
            now: TypedObject | None = None
            if before is not None:
                now = type(before)()
                now.CopyFrom(before)
                if observation is not None:
                    now.state = observation.state
                    now.observed.CopyFrom(observation.observed)
            staged = self._staged[name] = _Staged(row=row, before=before, now=now, observation=observation)
        return staged

    def _foreign(self, staged: _Staged) -> bool:
        """Return whether an undo must keep off, because its operation was not the last to write the object."""
        return self._reverting and (staged.row is None or staged.row.writer != self._operation)

    def _create(self, wrapped: object_pb2.Object, field: str) -> None:
        source = _typed(wrapped, field)
        if not source.uid:
            raise InvalidRequest.of(f"{field}.uid", "the uid is required; whoever plans mints it")
        staged = self._load(source.name)
        if staged.now is not None:
            if self._reverting:
                return
            raise AlreadyExists(f"{kind_of(source.name).noun} {source.name} exists already", resource=source.name)
        if self._foreign(staged):
            return
        now: TypedObject = type(source)()
        now.CopyFrom(source)
        for derived in derived_fields(collection_of(source.name)):
            now.ClearField(derived)
        if not self._reverting or not now.HasField("create_time"):
            now.create_time.CopyFrom(self._now)
        staged.now = now
        self._inverse.append(write_objects_pb2.ObjectWrite(delete=source.name))

    def _update(self, update: write_objects_pb2.ObjectUpdate, field: str) -> None:
        source = _typed(update.object, f"{field}.object")
        check_paths(source, update.update_mask.paths, f"{field}.update_mask")
        staged = self._load(source.name)
        if staged.now is None or self._foreign(staged):
            if self._reverting:
                return
            raise _missing(source.name)
        inverse = write_objects_pb2.ObjectWrite()
        inverse.update.update_mask.CopyFrom(update.update_mask)
        prior: TypedObject = getattr(inverse.update.object, kind_of(source.name).field)
        prior.name = source.name
        take_over(staged.now, prior, update.update_mask.paths)
        take_over(source, staged.now, update.update_mask.paths)
        self._inverse.append(inverse)

    def _delete(self, name: str) -> None:
        staged = self._load(name)
        if staged.now is None or self._foreign(staged):
            if self._reverting:
                return
            raise _missing(name)
        self._inverse.append(write_objects_pb2.ObjectWrite(create=wrap(staged.now)))
        staged.now = None

    def _store_object(self, name: str, staged: _Staged, now: TypedObject) -> bool:
        observed = self._store_observation(name, staged, now) if collection_of(name) == "servers" else False
        if staged.before is not None and now == staged.before:
            if observed:
                self.touched[name] = None
            return observed
        if collection_of(name) == "vnics" and not self._reverting:
            give_address(self._reader, now)
        row = staged.row
        # An undo may find another object's tombstone under the name; the generation never falls all the same.
        last = now.generation if self._reverting else 0
        now.generation = max(last, row.generation if row is not None and row.uid == now.uid else 0) + 1
        now.update_time.CopyFrom(self._now)
        self.rows[name] = write_row(self._reader, now, self._operation)
        self._relate(name, staged)
        self.changes.append(Change(name=name, before=staged.before, now=now))
        return True

    def _store_observation(self, name: str, staged: _Staged, now: TypedObject) -> bool:
        """Move what a server shows of reports out of the object; return whether it changed.

        Of two looks at a host the one with the higher position in its ledger counts, however it came here (P27).
        """
        known = staged.observation
        if now.observed.HasField("death") and (known is None or now.observed.death != known.observed.death):
            self.events.append(prove_death(now, self._principal, self._operation, self._now))
        state, observed = now.state, now.observed
        if known is not None and _is_older(observed, known.observed):
            observed = known.observed
        changed = known is None and (state or now.HasField("observed"))
        changed = changed or (known is not None and (known.state != state or known.observed != observed))
        if changed:
            revision = known.revision + 1 if known is not None else 1
            write_observation(self._reader, name, Observation(state=state, revision=revision, observed=observed))
        now.ClearField("state")
        now.ClearField("observed")
        return bool(changed)

    def _relate(self, name: str, staged: _Staged) -> None:
        """Store the relations, and note which targets show something else now."""
        self.touched[name] = None
        kind = collection_of(name)
        for field, old, new in write_links(self._reader, name, links_of(staged.before), links_of(staged.now)):
            for link in (old, new):
                if link is not None and shown_by(kind, field):
                    self.touched.setdefault(link.target)
            if new is not None and (more := _more(old, new)) > 0:
                self.filled[new.target] = self.filled.get(new.target, 0) + more


def _is_older(seen: server_pb2.ServerObservation, known: server_pb2.ServerObservation) -> bool:
    """Return whether a look of a job, which knows of positions only, is older than what is known."""
    return not has_other_ledger(seen, known) and seen.ledger_sequence < known.ledger_sequence


def _more(old: Link | None, new: Link) -> int:
    return new.amount - (old.amount if old is not None and old.target == new.target else 0)


def _typed(wrapped: object_pb2.Object, field: str) -> TypedObject:
    """Return the typed object of a write.

    Raises:
        InvalidRequest: it is missing, or its name is not one of its kind.
    """
    if wrapped.WhichOneof("object") is None:
        raise InvalidRequest.of(field, "one kind of object is required")
    message: TypedObject = unwrap(wrapped)
    kind = kinds().get(collection_of(message.name))
    if kind is None or kind.field != wrapped.WhichOneof("object"):
        raise InvalidRequest.of(f"{field}.name", f"{message.name!r} is not the name of a {message.DESCRIPTOR.name}")
    check_id(id_of(message.name), f"{field}.name")
    return message


def _missing(name: str) -> NotFound:
    return NotFound(f"{name} does not exist", resource=name)
