"""`virtyard backup`: the databases of a site as they all are at one moment, copied while it runs."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from virtyard.kernel.errors import NotFound, VirtyardError, WrongState
from virtyard.processes.command_line import configuration_of
from virtyard.processes.control_settings import CONTEXT, PKI, STATE
from virtyard.processes.hosting import say
from virtyard.processes.site import KEEPERS
from virtyard.runtime.backup import copy_together, find_databases, sign
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.configuration import Configuration

__all__ = ["back_up", "main", "settings_with"]

PAUSING = "jobs"
"""The database whose commits wait for a moment: nothing is sent to anybody without one."""


def main(argv: Sequence[str]) -> int:
    """Copy the databases of a site together, whether it runs or not."""
    parser = argparse.ArgumentParser(prog="virtyard backup", description=main.__doc__)
    text = "folder of the databases; once for each service that has one of its own [that of the configuration]"
    parser.add_argument("--state", action="append", metavar="DIR", help=text)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make; it must be empty")
    text = "copy the authority and the certificates too, private keys and all [not copied]"
    parser.add_argument("--pki", nargs="?", const="", metavar="DIR", help=text)
    arguments = parser.parse_args(argv)
    settings = settings_with(arguments.state, parser.prog)
    folders = [Path(folder) for folder in arguments.state or [settings[STATE]]]
    pki = Path(arguments.pki) if arguments.pki else settings[PKI]
    try:
        back_up(folders, arguments.out, pki=pki, with_pki=arguments.pki is not None, context=settings[CONTEXT])
    except VirtyardError as error:
        sys.stderr.write(f"virtyard backup: {error.message}\n")
        return 1
    return 0


def settings_with(state: Sequence[str] | None, prog: str) -> Configuration:
    """Return the settings of a site, whose folder of databases may have been given."""
    # One folder is that of a site, and where its PKI is follows from it.
    given = {f"flag {STATE.flag}": state} if state and len(state) == 1 else {}
    return configuration_of("up", argparse.Namespace(**given), prog)


def back_up(folders: Sequence[Path], out: Path, *, pki: Path, with_pki: bool, context: Path) -> None:
    """Make a backup in a folder, and say what was done.

    Args:
        folders: where the databases are.
        out: the folder of the backup, made if it is missing.
        pki: the folder of the authority and its certificates.
        with_pki: whether that is copied.
        context: the context file, which is named only: every start writes it anew.

    Raises:
        NotFound: a database or the PKI is not there.
        WrongState: the folder is not empty.
        Unavailable, DataLoss: a database cannot be copied; the folder has no manifest then, so it is no backup.
    """
    databases = find_databases(folders, KEEPERS)
    if with_pki and not pki.is_dir():
        raise NotFound(f"there is no PKI in {pki}", resource=str(pki))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WrongState(f"{out} is not an empty folder; a backup is never written over anything", resource=str(out))
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    time = SystemClock().now()
    copies, paused = copy_together(databases, PAUSING, out)
    if with_pki:
        shutil.copytree(pki, out / "pki")
    sign(
        out,
        {
            "release": metadata.version("virtyard"),
            "create_time": time.isoformat(),
            "paused_seconds": round(paused, 6),
            "databases": {name: asdict(copy) for name, copy in copies.items()},
            "pki": "pki" if with_pki else None,
            "not_included": [str(context), *([] if with_pki else [str(pki)])],
        },
    )
    for name, copy in copies.items():
        say(f"{name}.db: {copy.bytes} bytes, incarnation {copy.incarnation}, sequence {copy.sequence}")
    say(f"new intents waited for {paused * 1000:.1f} ms; the backup is in {out}")
    say("it has the private keys of this site: keep it as you keep them" if with_pki else f"not in it: {pki}")
