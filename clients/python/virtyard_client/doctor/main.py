"""The command `virtyard doctor`: looks, tells, and on request repairs, by jobs alone."""

from __future__ import annotations

import argparse
import asyncio
import sys
import uuid
from collections.abc import Sequence

from virtyard_client.client import Client
from virtyard_client.command.options import ExitCode
from virtyard_client.command.quantities import read_seconds
from virtyard_client.command.usage import complain
from virtyard_client.context import Context, ContextError
from virtyard_client.doctor.checks import examine
from virtyard_client.doctor.finding import Finding, Severity
from virtyard_client.doctor.sight import look
from virtyard_client.errors import ClientError
from virtyard_client.render.json_line import text_of
from virtyard_client.render.line import Line, Span, line, wrap
from virtyard_client.render.screen import Screen

_STYLES = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow", Severity.NOTICE: "cyan"}
_SECONDS = 120.0
"""How long a repair is waited for."""


def main(argv: Sequence[str]) -> int:
    """Look for what is stuck, say why and what to do; the exit code is 1 if there is anything."""
    parser = argparse.ArgumentParser(prog="virtyard doctor", description=main.__doc__)
    parser.add_argument("--context", default="", help="where the services are; VIRTYARD_CONTEXT if not given")
    parser.add_argument("--patience", default="5m", help="a wait or an abort of this age is told, as 30s or 5m")
    parser.add_argument("--repair", action="store_true", help="submit the jobs that repair what jobs can repair")
    parser.add_argument("--yes", action="store_true", help="with --repair, do not ask")
    parser.add_argument("--output", choices=("table", "json", "yaml"), default="table", help="form of the answer")
    parser.add_argument("--json", action="store_true", help="one JSON object a line: --output json")
    arguments = parser.parse_args(argv)
    form = "json" if arguments.json else arguments.output
    try:
        patience = float(read_seconds(arguments.patience))
    except ValueError as error:
        complain(f"--patience takes {error}, not {arguments.patience!r}", json=form != "table")
        return ExitCode.REFUSED
    try:
        context = Context.load(arguments.context or None)
        found = examine(asyncio.run(look(context)), patience)
    except ContextError as error:
        complain(str(error), json=form != "table")
        return ExitCode.UNREACHABLE
    screen = Screen()
    if form == "table":
        screen.write(report(found, screen.width))
    else:
        for finding in found:
            screen.text(text_of(finding.body(), form))
    left = found
    if arguments.repair:
        left = [finding for finding in found if not _repair(context, screen, finding, yes=arguments.yes)]
    return ExitCode.FAILED if left else ExitCode.SUCCEEDED


def report(found: Sequence[Finding], width: int) -> list[Line]:
    """The lines that tell of findings: severity, what, why and what to do, and a command that can be pasted."""
    if not found:
        return [line("Nothing is stuck.")]
    lines: list[Line] = []
    for finding in found:
        first, *rest = wrap(finding.what, width - 10)
        lines.append((Span(finding.severity.name.ljust(10), _STYLES[finding.severity]), *first))
        lines += [(Span(" " * 10), *each) for each in rest]
        for word, text in (("why", finding.why), ("do", finding.advice)):
            first, *rest = wrap(text, width - 10) or [()]
            lines.append((Span(f"  {word}".ljust(10), "dim"), *first))
            lines += [(Span(" " * 10), *each) for each in rest]
        if finding.command:
            lines.append((Span(" " * 12), Span(finding.command, "cyan")))
        lines.append(())
    count = len(found)
    lines.append(line(f"{count} finding{'' if count == 1 else 's'}."))
    return lines


def _repair(context: Context, screen: Screen, finding: Finding, *, yes: bool) -> bool:
    """Submit the job that repairs a finding; tell whether it is repaired."""
    if finding.repair is None:
        return False
    if not yes and not sys.stdin.isatty():
        screen.complain([line(f"would run: {finding.command}  (--yes does it without asking)")])
        return False
    if not yes and not _agreed(finding):
        return False
    try:
        return asyncio.run(_submit(context, screen, finding))
    except (ClientError, ContextError, TimeoutError) as error:
        text = str(error) or f"it has not ended after {_SECONDS:g} s; it goes on"
        screen.complain([line(f"{finding.command}: {text}")])
        return False


def _agreed(finding: Finding) -> bool:
    sys.stderr.write(f"{finding.what}\nRun `{finding.command}`? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _submit(context: Context, screen: Screen, finding: Finding) -> bool:
    request = finding.repair
    request.request_id = str(uuid.uuid4())
    request.options.reason = "virtyard doctor --repair"
    method = type(request).__name__.removesuffix("Request")
    async with Client.connect(context) as client:
        operation = await getattr(client.operations, method)(request)
        story = await client.wait(operation, timeout=_SECONDS)
    error = story.error
    screen.complain([line(f"{finding.command}: {story.name} {f'failed: {error.message}' if error else 'done'}")])
    return error is None


__all__ = ["main", "report"]
