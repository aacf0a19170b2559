"""The command line's own options, which no request has a field for, and the exit codes."""

from __future__ import annotations

from enum import IntEnum

from virtyard_client.command.parse import Option
from virtyard_client.schema.model import Method
from virtyard_client.schema.own import CLIENT, OPERATION


class ExitCode(IntEnum):
    """How a command ended, for scripts."""

    SUCCEEDED = 0
    """Done; with --no-wait, accepted."""
    FAILED = 1
    """The operation failed, and what it did was undone; or the server broke down."""
    REFUSED = 2
    """The command line or the request was refused; nothing was changed."""
    CANCELLED = 3
    """The operation was aborted, and what it did was undone."""
    PARTIAL = 4
    """The operation ended with something missing or left behind."""
    UNREACHABLE = 5
    """The services cannot be reached, or the time of --timeout is over."""
    DETACHED = 130
    """Ctrl-C: the command ended, the operation goes on."""


EXIT_CODES = (
    (0, "succeeded (with --no-wait: accepted)"),
    (1, "failed; what was done is undone"),
    (2, "refused: bad usage or bad input; nothing was changed"),
    (3, "cancelled: aborted, and what was done is undone"),
    (4, "partial: ended with something missing or left behind"),
    (5, "no connection, or the time of --timeout is over"),
)

HELP = Option(name="help", comment="Show this help.")
JSON = Option(name="json", comment="Print one JSON object a line, as proto3 JSON: --output json.")
OUTPUT = Option(name="output", metavar="FORM", comment="Print a table (the default), json or yaml.")
COLUMNS = Option(name="columns", metavar="FIELD,...", comment="The columns of the table, in this order.")
CONTEXT = Option(name="context", metavar="FILE", comment="Where the services are; VIRTYARD_CONTEXT if not given.")
TIMEOUT = Option(name="timeout", metavar="SPAN", comment="Give up after this time, as 30s or 5m; operations go on.")
VERBOSE = Option(name="verbose", comment="Say beneath an error what led to it, and all that the service said.")
LIMIT = Option(name="limit", metavar="N", comment="Stop after this many rows.")
WAIT = Option(
    name="wait",
    negatable=True,
    comment="Follow the operation to its end (the default), or print its name and return at once.",
)
WAIT_ABORT = Option(
    name="wait", negatable=True, comment="Follow the operation until it is undone; by default return at once."
)


def options_of(method: Method) -> tuple[Option, ...]:
    """The options that a verb understands beside the flags of its request."""
    common = (OUTPUT, JSON, TIMEOUT, CONTEXT, VERBOSE, HELP)
    if method.response == OPERATION and method.verb not in ("show", "wait"):
        return (WAIT, *common)
    if method.verb == "list":
        return (LIMIT, COLUMNS, *common)
    if (method.service, method.verb) == (CLIENT, "watch"):
        return (COLUMNS, *common)
    if method.response == "google.protobuf.Empty":
        return (WAIT_ABORT, *common)
    return common
