"""`virtyard config`: what a process would run with and where each value comes from, and everything that is wrong."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from virtyard.processes.command_line import add_flags, examine
from virtyard.processes.control_settings import PROCESSES
from virtyard.processes.settings import SETTINGS
from virtyard.runtime.configuration import Configuration, Problem, unknown_variables

_PROCESS = {process: "serve " + process for process in ("inventory", "jobs", "locks")}


def main(argv: Sequence[str]) -> int:
    """Show the settings and where they come from, or check them."""
    parser = argparse.ArgumentParser(prog="virtyard config", description=main.__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    show = verbs.add_parser(
        "show", help="show every value that counts, and where it comes from, as a file could have it"
    )
    check = verbs.add_parser("check", help="tell everything that is wrong; the exit code is 1 if anything is")
    for verb in (show, check):
        processes = verb.add_subparsers(dest="process", metavar="PROCESS", help="one process alone, with its own flags")
        _add_flags(verb)
        for process in PROCESSES:
            one = processes.add_parser(process, help=f"what `virtyard {_PROCESS.get(process, process)}` reads")
            _add_flags(one, process)
    arguments = parser.parse_args(argv)
    process, as_json = arguments.process or "", "json" in arguments
    configuration, problems = examine(process, arguments)
    if arguments.verb == "check":
        return _check(configuration, [*problems, *unknown_variables(SETTINGS, os.environ)], as_json=as_json)
    for problem in problems:
        sys.stderr.write(f"{parser.prog}: {problem}\n")
    _show(configuration, process, as_json=as_json)
    return 1 if problems else 0


def _add_flags(parser: argparse.ArgumentParser, *processes: str) -> None:
    # Suppressed, as `--config` is: it may stand before the process and after it.
    text = "one JSON object a line, for programs"
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=text)
    add_flags(parser, processes)


def _check(configuration: Configuration, problems: Sequence[Problem], *, as_json: bool) -> int:
    for problem in problems:
        sys.stdout.write(_line(where=problem.where, message=problem.message) if as_json else f"{problem}\n")
    if not problems and not as_json:
        sys.stdout.write(f"{configuration.file or 'no file'}: nothing is wrong\n")
    return 1 if problems else 0


def _show(configuration: Configuration, process: str, *, as_json: bool) -> None:
    if not as_json:
        sys.stdout.write(f"# file: {configuration.file or 'none'}\n")
    for setting in SETTINGS:
        if process and process not in setting.readers:
            continue
        try:
            found = configuration.found(setting)
        except LookupError as error:
            missing = (
                "is not set" if error.args[0] == setting.name else f"follows from {error.args[0]}, which is not set"
            )
            if not as_json:
                sys.stdout.write(f"# {setting.name} {missing}\n")
            continue
        written = setting.written(found.value)
        if as_json:
            line = _line(name=setting.name, value=json.loads(written), unit=setting.kind.unit, source=found.source)
        else:
            line = f"{f'{setting.name} = {written}':<48} # {found.source}\n"
        sys.stdout.write(line)


def _line(**facts: object) -> str:
    return json.dumps(facts, ensure_ascii=False) + "\n"
