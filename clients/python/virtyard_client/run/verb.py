"""Running a verb: which coroutine serves which method, and what every error becomes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from virtyard_client.command.options import ExitCode
from virtyard_client.command.request import flag_of_field
from virtyard_client.command.usage import complain
from virtyard_client.context import ContextError
from virtyard_client.errors import ClientError
from virtyard_client.render.causes import facts
from virtyard_client.render.json_line import error_line
from virtyard_client.render.line import Line, line, wrap
from virtyard_client.render.refusal import refusal
from virtyard_client.run import describing, exporting, longrunning, operation, reading, watching
from virtyard_client.run.session import Session
from virtyard_client.run.unreachable import in_words, is_unsent
from virtyard_client.schema.own import CLIENT, OPERATION, OPERATIONS

Handler = Callable[[Session], Awaitable[ExitCode]]

_LONGRUNNING: dict[str, Handler] = {
    "GetOperation": longrunning.show,
    "WaitOperation": longrunning.wait,
    "CancelOperation": longrunning.abort,
}

_COMPOSED: dict[str, Handler] = {
    "Describe": describing.describe,
    "Watch": watching.watch,
    "Transcript": describing.transcript,
}


def handler_of(session: Session) -> Handler:
    """The coroutine that serves the session's method, by the shape of the method."""
    method = session.method
    if method.service == CLIENT:
        return _COMPOSED[method.name]
    if method.service == OPERATIONS and method.name in _LONGRUNNING:
        return _LONGRUNNING[method.name]
    if method.streaming:
        return exporting.export if method.name.startswith("Export") else longrunning.watch
    if method.response == OPERATION:
        return operation.submit
    return reading.list_all if reading.is_list(session) else reading.get


def run(session: Session) -> ExitCode:
    """Run the session's verb to its end; errors are said on standard error."""
    try:
        return asyncio.run(_run(session))
    except ContextError as error:
        complain(str(error), json=session.structured)
        return ExitCode.UNREACHABLE
    except ClientError as error:
        return refuse(session, error)
    except TimeoutError:
        complain("the time of --timeout is over", json=session.structured)
        return ExitCode.UNREACHABLE
    except KeyboardInterrupt:
        if session.following:
            complain(detached(session.following), json=False)
        elif session.unanswered:
            complain("interrupted; whether it was done is not known", json=False)
            session.screen.complain(again(session, session.unanswered))
        return ExitCode.DETACHED


async def _run(session: Session) -> ExitCode:
    return await handler_of(session)(session)


def detached(name: str) -> str:
    """What Ctrl-C says about the operation that was being followed."""
    short = name.rpartition("/")[2]
    return (
        f"detached; {name} goes on: `virtyard operation watch {short}` shows it, "
        f"`virtyard operation abort {short}` stops it"
    )


def again(session: Session, request_id: str) -> list[Line]:
    """How to ask once more for what was not answered, as a lock that may be queued by now: under its id."""
    flag = flag_of_field(session.flags, "request_id")
    text = "asked for again with this flag it is done once only, and you are answered with what it came to:"
    return [*wrap(text, session.screen.width, indent="  "), line(f"    {flag} {request_id}")]


def refuse(session: Session, error: ClientError) -> ExitCode:
    """Say what a service refused, and tell by the exit code whether the request or the connection is to be mended."""
    screen = session.screen
    # What never reached a service was not done.
    unanswered = session.unanswered if (error.unreachable or error.broken) and not is_unsent(error) else ""
    if error.unreachable:
        # A context file that is gone by now adds nothing.
        with contextlib.suppress(ContextError):
            error = in_words(error, session.context)
    if session.structured:
        screen.complain([line(error_line(error, unanswered))])
    else:
        screen.complain(refusal(error, session.flags, screen.width))
        if unanswered:
            screen.complain(again(session, unanswered))
        if session.verbose:
            screen.complain(facts(error))
    if error.unreachable:
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if error.broken else ExitCode.REFUSED
