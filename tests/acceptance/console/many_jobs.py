"""A history of very many jobs, copied from one operation straight into the database of a scheduler that is stopped."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from virtyard.api.jobs.v1 import job_pb2
from virtyard.internal.jobs.v1 import record_pb2

FEW = "virtualMachines/few"
"""The object of the newest hundred jobs, so that an index finds just those."""
_FEW_OPERATIONS = 20


def fill_history(jobs_db: Path, jobs: int) -> int:
    """Copy an operation with five jobs until there are so many jobs; return how many there are."""
    connection = sqlite3.connect(jobs_db, isolation_level=None)
    connection.execute("BEGIN")
    (have,) = connection.execute("SELECT count(*) FROM job").fetchone()
    (last,) = connection.execute("SELECT max(number) FROM operation").fetchone()
    (like_it,) = connection.execute("SELECT operation FROM job GROUP BY operation HAVING count(*) >= 5").fetchone()
    *columns, record = connection.execute(
        "SELECT principal, method, epoch, request, plan, record FROM operation WHERE number = ?", (like_it,)
    ).fetchone()
    bodies = [
        body for (body,) in connection.execute("SELECT body FROM job WHERE operation = ? ORDER BY number", (like_it,))
    ]
    copies = -(-(jobs - have) // len(bodies))
    template = record_pb2.OperationRecord.FromString(record)
    like = [job_pb2.Job.FromString(body) for body in bodies]
    for number in range(last + 1, last + copies + 1):
        template.number = number
        connection.execute(
            "INSERT INTO operation (number, name, open, principal, method, epoch, request, plan, record)"
            " VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?)",
            (number, f"operations/{number}", *columns, template.SerializeToString()),
        )
        connection.executemany(
            "INSERT INTO job (operation, number, name, state, object, body) VALUES (?, ?, ?, ?, ?, ?)",
            _rows(like, number, is_few=number > last + copies - _FEW_OPERATIONS),
        )
    (there,) = connection.execute("SELECT count(*) FROM job").fetchone()
    connection.execute("COMMIT")
    connection.close()
    return int(there)


def _rows(like: list[job_pb2.Job], operation: int, *, is_few: bool) -> list[tuple[object, ...]]:
    """Return the rows of an operation's jobs; the templates are changed in place, as making them anew costs more."""
    rows: list[tuple[object, ...]] = []
    for place, job in enumerate(like, 1):
        job.name, job.operation = f"jobs/{operation}-{place}", f"operations/{operation}"
        for hop in job.reason_trail:
            if hop.source.startswith("operations/"):
                hop.source = job.operation
        if is_few:
            job.object = FEW
        rows.append((operation, place, job.name, job.state, job.object, job.SerializeToString()))
    return rows
