"""The command line of a process: its flags follow from the settings, and the rest of the configuration joins them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from virtyard.processes.control_settings import REPORT_INTERVAL, SILENCE
from virtyard.processes.settings import SETTINGS
from virtyard.runtime.configuration import Configuration, Problem, find_file, load
from virtyard.runtime.setting import Setting

__all__ = ["add_flags", "configuration_of", "examine", "flags_of", "refuse"]

_DEST = "flag "


def add_flags(parser: argparse.ArgumentParser, processes: Collection[str]) -> None:
    """Add `--config` and a flag for every setting that one of the processes takes by one."""
    # Suppressed, so that a verb's flag is not forgotten when its process has it, too.
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="configuration file; VIRTYARD_CONFIG if not given",
    )
    added: set[str] = set()
    for setting in SETTINGS:
        if setting.flag not in added and any(setting.has_flag(process) for process in processes):
            added.add(setting.flag)
            parser.add_argument(
                setting.flag,
                dest=_DEST + setting.flag,
                action="append",
                metavar=_metavar(setting),
                help=_help(setting),
            )


def flags_of(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """Return what was given to each flag."""
    found = vars(arguments)
    return {name.removeprefix(_DEST): given for name, given in found.items() if name.startswith(_DEST) and given}


def examine(
    process: str, arguments: argparse.Namespace, environ: Mapping[str, str] = os.environ
) -> tuple[Configuration, list[Problem]]:
    """Return the configuration of a process, and everything that is wrong with it."""
    file = getattr(arguments, "config", None) or find_file(environ)
    configuration, problems = load(SETTINGS, process, flags=flags_of(arguments), environ=environ, file=file)
    both_read = not any(setting.key in problem.where for setting in (SILENCE, REPORT_INTERVAL) for problem in problems)
    if both_read and configuration[SILENCE] < 2 * configuration[REPORT_INTERVAL]:
        message = f"{configuration[SILENCE]:g} is not allowed; it must be at least twice {REPORT_INTERVAL.name}"
        problems.append(Problem(where=SILENCE.name, message=message))
    return configuration, problems


def configuration_of(process: str, arguments: argparse.Namespace, prog: str) -> Configuration:
    """Return the configuration of a process, which ends here with every problem told if there are any."""
    configuration, problems = examine(process, arguments)
    if problems:
        refuse(prog, problems)
    return configuration


def refuse(prog: str, problems: Sequence[Problem], code: int = 2) -> NoReturn:
    """Tell every problem and end the process."""
    for problem in problems:
        sys.stderr.write(f"{prog}: {problem}\n")
    raise SystemExit(code)


def _metavar(setting: Setting[Any]) -> str:
    return setting.flag.strip("-").replace("-", "_").upper()


def _help(setting: Setting[Any]) -> str:
    default = ""
    if setting.derived is not None:
        default = f" [{setting.derived_text.replace('`', '')}]"
    elif setting.default not in (None, "", ()):
        default = f" [{setting.default}]"
    again = "; may be repeated" if setting.kind.repeated else ""
    return f"{setting.summary.replace('`', '').rstrip('.')}{again}{default}".replace("%", "%%")
