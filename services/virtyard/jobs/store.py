"""The scheduler's store: operations, jobs and what is due, in `jobs.db`.

Every write of an operation is conditional on its epoch: a scheduler that was overtaken changes nothing (P14).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.any_pb2 import Any

from virtyard.api.jobs.v1 import job_pb2, operation_pb2, plan_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.archive import Bounds, archived_after, find_archived, find_archived_job, unpack_operation
from virtyard.jobs.greeter import KnownLedgers
from virtyard.jobs.job_rows import JobRow, Narrow, fill_objects, rows_after
from virtyard.jobs.model import Operation, Shape, operation_name
from virtyard.jobs.render import render_job, render_operation
from virtyard.jobs.settled import Settled
from virtyard.kernel.any import unpack
from virtyard.kernel.errors import AlreadyExists, NotFound, StaleEpoch, Unavailable
from virtyard.kernel.job_states import JobState
from virtyard.runtime.database import Database, Transaction

RELEASE = "release"
EVENTS = "events"
_PUT_JOB = """
INSERT INTO job (operation, number, name, object, state, body) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (operation, number) DO UPDATE SET state = excluded.state, body = excluded.body
"""
OPERATION_COLUMNS = "number, request, plan, record"
"""The columns that `load` takes."""
_OPERATION = f"SELECT {OPERATION_COLUMNS} FROM operation"  # noqa: S608 - constants only
_BY_REQUEST = f"""
SELECT {OPERATION_COLUMNS}, NULL FROM operation WHERE principal = :principal AND request_id = :request_id
UNION ALL
SELECT number, NULL, NULL, NULL, body FROM archived_operation
WHERE principal = :principal AND request_id = :request_id LIMIT 1
"""  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What must happen in another service because of a commit here; done at least once, then forgotten (P5)."""

    key: str
    """Makes it happen once, however often it is asked for."""
    kind: str
    """`release` or `events`."""
    body: bytes
    """The request to that service."""


class EndNote(Protocol):
    """What the end of an operation is told with."""

    def write(self, transaction: Transaction) -> None:
        """Write it, in the transaction of the end; may be called again."""
        ...

    def committed(self) -> None:
        """Go on, once the end is durable and before anybody is told of it."""
        ...


def load(row: Sequence[object]) -> Operation:
    """Return the operation of a row of `operation`."""
    _, request, plan, record = row
    return Operation(
        shape=Shape.of(plan_pb2.Plan.FromString(plan)),  # type: ignore[arg-type]  # a BLOB
        request=Any.FromString(request),  # type: ignore[arg-type]  # a BLOB
        record=record_pb2.OperationRecord.FromString(record),  # type: ignore[arg-type]  # a BLOB
    )


class JobStore:
    """The scheduler's database."""

    def __init__(self, database: Database) -> None:
        """Use an open database."""
        self.database = database
        self.settled = Settled()
        """Which operations are open, by the commits of this store."""
        self.ledgers = KnownLedgers(database)
        """What is known of the participants' ledgers."""
        self.held = False
        """Whether no operation is taken, as the database was restored and was not compared with the servers yet."""
        self.with_end: Callable[[Operation], EndNote | None] = lambda _: None
        """Gives what is written in the commit that ends an operation, for those who are told of it."""
        self._forgotten: list[str] = []
        database.on_reopen(self.settled.doubt)

    async def complete_rows(self) -> None:
        """Bring rows up to date that an earlier release wrote; done once, before anything else."""
        if await self.database.read(lambda sql: sql.execute("SELECT 1 FROM job WHERE object = '' LIMIT 1").fetchone()):

            def fill(transaction: Transaction) -> None:
                fill_objects(transaction.connection)
                transaction.transition("jobs.rows")

            await self.database.write(fill)

    async def insert(
        self,
        operation: Operation,
        request_id: str,
        *,
        also: Callable[[Transaction, Operation], None] | None = None,
        run: Callable[[Operation], None] | None = None,
    ) -> Operation:
        """Make a new operation durable (C1), with its number; return it, or the one that has the request id.

        Args:
            operation: the operation, whose record gets its number.
            request_id: of the submission; empty for none.
            also: writes in the same commit what led to the operation, which may be the one that is there.
            run: begins to run the operation once it is durable, also where the caller is told that this is unknown.

        Raises:
            AlreadyExists: the request id belongs to another request (P26).
            Unavailable: the scheduler is held after a restore.
        """
        if self.held:
            raise Unavailable("the databases were restored, and are compared with every server first", retry_after=1.0)
        sweep = self._sweep()

        def write(transaction: Transaction) -> Operation:
            record = operation.record
            if request_id and (known := _by_request(transaction.connection, record.principal, request_id)):
                same = _same_request(known, operation.request, request_id)
                if also is not None:
                    also(transaction, same)
                    transaction.transition("jobs.repeated")
                return same
            record.number = _last_number(transaction.connection) + 1
            transaction.execute(
                "INSERT INTO operation"
                " (number, name, principal, request_id, method, open, epoch, request, plan, record)"
                " VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?)",
                (
                    record.number,
                    operation.name,
                    record.principal,
                    request_id or None,
                    record.method,
                    record.epoch,
                    operation.request.SerializeToString(),
                    operation.shape.plan.SerializeToString(),
                    record.SerializeToString(),
                ),
            )
            bodies.update(_write_jobs(transaction, operation, [job.id for job in operation.shape.plan.jobs]))
            bodies[operation.name] = render_operation(operation).SerializeToString()
            transaction.append("operation", operation.name, bodies[operation.name])
            if also is not None:
                also(transaction, operation)
            sweep(transaction)
            transaction.transition("jobs.C1")
            return operation

        bodies: dict[str, bytes] = {}

        def committed(known: Operation) -> None:
            if known is operation:
                self.settled.opened(known.number)
                operation.bodies.update(bodies)
                if run is not None:
                    run(operation)

        return await self.database.write(write, after=committed)

    async def settle(self) -> None:
        """Return once all that was asked for before is written, also what its callers no longer wait for.

        Raises:
            Unavailable: the outcome of that is unknown, or the database is closing.
        """
        await self.database.write(lambda _: None)

    async def save(
        self,
        operation: Operation,
        jobs: Iterable[str],
        transition: str,
        *,
        steps: Iterable[str] = (),
        due: Sequence[Due] = (),
        new_plan: bool = False,
        raised: int = 0,
        after: Callable[[], None],
    ) -> None:
        """Make the operation's record, and the jobs that changed, durable in one commit.

        Args:
            operation: with the record to keep.
            jobs: ids of the jobs that look different now.
            transition: name of the durable transition, for fault injection.
            steps: the steps whose intents are written, for fault injection.
            due: what must follow in other services.
            new_plan: the plan was made again, so it and all jobs are written.
            raised: by how much the record's epoch is higher than the one that the operation must have now.
            after: is called after the commit and before anybody hears of it.

        Raises:
            StaleEpoch: another scheduler has adopted the operation; nothing was written.
        """
        changed = sorted(set(jobs), key=int)
        ends = operation.record.state != operation_pb2.OPERATION_STATE_ACTIVE
        note = self.with_end(operation) if ends else None
        sweep = self._sweep()

        def write(transaction: Transaction) -> dict[str, bytes]:
            record = operation.record
            written = transaction.execute(
                "UPDATE operation SET record = ?, open = ?, epoch = ? WHERE number = ? AND epoch = ? AND open = 1",
                (record.SerializeToString(), int(not ends), record.epoch, record.number, record.epoch - raised),
            )
            if written.rowcount != 1:
                raise StaleEpoch(f"{operation.name} was adopted or has ended", resource=operation.name)
            bodies = _replace_plan(transaction, operation) if new_plan else _write_jobs(transaction, operation, changed)
            bodies[operation.name] = render_operation(operation).SerializeToString()
            transaction.append("operation", operation.name, bodies[operation.name])
            if due:
                transaction.executemany(
                    "INSERT OR IGNORE INTO due (key, kind, body) VALUES (?, ?, ?)",
                    [(item.key, item.kind, item.body) for item in due],
                )
            if note is not None:
                note.write(transaction)
            sweep(transaction)
            transaction.transition(transition, steps)
            return bodies

        def committed(bodies: dict[str, bytes]) -> None:
            operation.bodies.update(bodies)
            if operation.record.tokens:
                self.settled.granted(operation.record.tokens[-1].fencing_token)
            if ends:
                self.settled.ended(operation.number)
            if note is not None:
                note.committed()
            after()

        await self.database.write(write, after=committed)

    async def adopt(self, note: Callable[[Transaction, list[Operation]], None] = lambda *_: None) -> list[Operation]:
        """Raise the epoch of every open operation in one commit and return them, the oldest first (P14).

        Args:
            note: is called in the same commit, and may change the records.
        """

        def write(transaction: Transaction) -> list[Operation]:
            rows = transaction.execute(f"{_OPERATION} WHERE open = 1 ORDER BY number").fetchall()
            adopted = [load(row) for row in rows]
            for operation in adopted:
                operation.record.epoch += 1
            note(transaction, adopted)
            transaction.executemany(
                "UPDATE operation SET epoch = ?, record = ? WHERE number = ?",
                [(one.record.epoch, one.record.SerializeToString(), one.number) for one in adopted],
            )
            transaction.transition("jobs.adopt")
            last.append(_last_number(transaction.connection))
            return adopted

        last: list[int] = []

        def committed(adopted: list[Operation]) -> None:
            self.settled.recall([operation.number for operation in adopted], last[-1])

        await self.ledgers.recall()
        return await self.database.write(write, after=committed)

    async def recall_open(self) -> None:
        """Ask the database which operations are open, after a commit whose outcome is not known."""

        def read(transaction: Transaction) -> tuple[list[int], int]:
            rows = transaction.execute("SELECT number FROM operation WHERE open = 1 ORDER BY number").fetchall()
            return [number for (number,) in rows], _last_number(transaction.connection)

        # As a write, so that it comes between two commits and not beside one.
        await self.database.write(read, after=lambda found: self.settled.recall(*found))

    async def open_operations(self) -> list[Operation]:
        """Return every operation that has not ended, the oldest first."""
        rows = await self.database.read(
            lambda connection: connection.execute(f"{_OPERATION} WHERE open = 1 ORDER BY number").fetchall()
        )
        return [load(row) for row in rows]

    async def find_request(self, principal: str, request_id: str, request: Any) -> Operation | None:
        """Return the operation that was submitted under this request id; None if there is none.

        Raises:
            AlreadyExists: it was another request (P26).
        """
        known = await self.database.read(lambda connection: _by_request(connection, principal, request_id))
        return _same_request(known, request, request_id) if known is not None else None

    async def get(self, number: int) -> Operation:
        """Return an operation.

        Raises:
            NotFound: there is no such operation.
        """
        return await self.database.read(lambda connection: _find(connection, number))

    async def get_job(self, number: int, job: int) -> job_pb2.Job:
        """Return a job as it is stored.

        Raises:
            NotFound: there is no such job.
        """

        def read(connection: sqlite3.Connection) -> job_pb2.Job:
            row = connection.execute(
                "SELECT body FROM job WHERE operation = ? AND number = ?", (number, job)
            ).fetchone()
            found = job_pb2.Job.FromString(row[0]) if row is not None else find_archived_job(connection, number, job)
            if found is None:
                raise NotFound(f"jobs/{number}-{job} does not exist", resource=f"jobs/{number}-{job}")
            return found

        return await self.database.read(read)

    async def jobs_after(self, number: int, job: int, limit: int, narrow: Narrow | None = None) -> list[JobRow]:
        """Return up to `limit` jobs after a place in the list: operations newest first, their jobs in order."""
        return await self.database.read(lambda connection: rows_after(connection, number, job, limit, narrow))

    async def archived_after(
        self, number: int, job: int, limit: int, narrow: Narrow | None = None, bounds: Bounds | None = None
    ) -> list[JobRow]:
        """Return up to `limit` jobs of the archive after a place in the list; see `archive.archived_after`."""
        return await self.database.read(
            lambda connection: archived_after(connection, number, job, limit, narrow, bounds)
        )

    async def operations_before(self, number: int, limit: int) -> list[Operation]:
        """Return up to `limit` operations with a lower number, the newest first."""
        rows = await self.database.read(
            lambda connection: connection.execute(
                f"{_OPERATION} WHERE number < ? ORDER BY number DESC LIMIT ?", (number, limit)
            ).fetchall()
        )
        return [load(row) for row in rows]

    async def count_jobs(self) -> dict[int, int]:
        """Return how many jobs there are in each state."""
        _, counts = await self.count_jobs_at()
        return counts

    async def count_jobs_at(self) -> tuple[int, dict[int, int]]:
        """Return how many jobs there are in each state, with the sequence of the feed at which they were counted."""

        def count(connection: sqlite3.Connection) -> tuple[int, dict[int, int]]:
            (sequence,) = connection.execute("SELECT sequence FROM feed").fetchone()
            return sequence, dict(connection.execute("SELECT state, jobs FROM job_count WHERE jobs > 0").fetchall())

        return await self.database.read(count)

    async def due(self) -> list[Due]:
        """Return everything that is due in other services."""
        rows = await self.database.read(
            lambda connection: connection.execute("SELECT key, kind, body FROM due ORDER BY key").fetchall()
        )
        return [Due(key=key, kind=kind, body=body) for key, kind, body in rows]

    def forget(self, keys: Iterable[str]) -> None:
        """Forget what has been done in other services, with the next commit: doing it twice is harmless."""
        self._forgotten += keys

    def _sweep(self) -> Callable[[Transaction], None]:
        """Return what deletes the rows that were forgotten since the last time."""
        keys, self._forgotten = self._forgotten, []
        moved = self.ledgers.take_moved()

        def sweep(transaction: Transaction) -> None:
            self.ledgers.write_moved(transaction, moved)
            if keys:
                transaction.executemany("DELETE FROM due WHERE key = ?", [(key,) for key in keys])

        return sweep


def _last_number(connection: sqlite3.Connection) -> int:
    """Return the highest number that an operation has or had."""
    (number,) = connection.execute(
        "SELECT max(coalesce((SELECT max(number) FROM operation), 0), (SELECT highest FROM left_live))"
    ).fetchone()
    return int(number)


def _find(connection: sqlite3.Connection, number: int) -> Operation:
    row = connection.execute(f"{_OPERATION} WHERE number = ?", (number,)).fetchone()
    found = load(row) if row is not None else find_archived(connection, number)
    if found is None:
        raise NotFound(f"{operation_name(number)} does not exist", resource=operation_name(number))
    return found


def _by_request(connection: sqlite3.Connection, principal: str, request_id: str) -> Operation | None:
    row = connection.execute(_BY_REQUEST, {"principal": principal, "request_id": request_id}).fetchone()
    if row is None:
        return None
    return load(row[:4]) if row[4] is None else unpack_operation(row[4])


def _same_request(known: Operation, request: Any, request_id: str) -> Operation:
    if known.request.type_url != request.type_url or unpack(known.request) != unpack(request):
        raise AlreadyExists(
            f"request_id: {request_id} belongs to another request, {known.name}",
            resource=known.name,
            metadata={"field": "request_id"},
        )
    return known


def _write_jobs(transaction: Transaction, operation: Operation, jobs: Sequence[str]) -> dict[str, bytes]:
    """Write jobs as they look now, and return how they look, by name."""
    number = operation.number
    bodies: dict[str, bytes] = {}
    for planned_id in jobs:
        job = render_job(operation, operation.shape.jobs[planned_id])
        body = bodies[job.name] = job.SerializeToString()
        transaction.put(_PUT_JOB, (number, int(planned_id), job.name, job.object, job.state, body))
        transaction.append("job", job.name, body)
    return bodies


def _replace_plan(transaction: Transaction, operation: Operation) -> dict[str, bytes]:
    number = operation.number
    transaction.execute(
        "UPDATE operation SET plan = ? WHERE number = ?", (operation.shape.plan.SerializeToString(), number)
    )
    gone = transaction.execute("SELECT number, body FROM job WHERE operation = ?", (number,)).fetchall()
    kept = {int(job.id) for job in operation.shape.plan.jobs}
    for job_number, body in gone:
        if job_number not in kept:
            transaction.append("job", f"jobs/{number}-{job_number}", body, removed=True)
    transaction.execute("DELETE FROM job WHERE operation = ?", (number,))
    return _write_jobs(transaction, operation, [job.id for job in operation.shape.plan.jobs])


PENDING_STATES = frozenset({int(JobState.PENDING), int(JobState.WAITING_FOR_LOCKS)})
"""States that the summary counts as pending."""
