"""`virtyard restore`: the databases of a site put back as a backup has them, for a life that knows it is another."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType

from virtyard.inventory import restored as inventory
from virtyard.jobs import restored as jobs
from virtyard.kernel.errors import InvalidRequest, NotFound, VirtyardError
from virtyard.locks import restored as locks
from virtyard.processes.backup import settings_with
from virtyard.processes.control_settings import PKI, STATE
from virtyard.processes.hosting import say
from virtyard.processes.site import KEEPERS
from virtyard.runtime.backup import check_copies, find_databases, read_manifest
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.restore import Part, put_back

__all__ = ["main", "restore"]

_MARKS = MappingProxyType({"inventory": inventory.begin_life, "jobs": jobs.begin_life, "locks": locks.begin_life})


def main(argv: Sequence[str]) -> int:
    """Put the databases of a site back as a backup has them; its control plane must be stopped."""
    parser = argparse.ArgumentParser(prog="virtyard restore", description=main.__doc__)
    parser.add_argument("--from", type=Path, required=True, metavar="DIR", dest="source", help="folder of the backup")
    text = (
        "folder of the databases; where services have folders of their own, once for each as SERVICE=DIR "
        "[that of the configuration]"
    )
    parser.add_argument("--state", action="append", metavar="DIR", help=text)
    text = "folder of the authority, put back if it is not there and the backup has one [that of the configuration]"
    parser.add_argument("--pki", type=Path, metavar="DIR", help=text)
    arguments = parser.parse_args(argv)
    settings = settings_with(arguments.state, parser.prog)
    try:
        places = places_of(arguments.state or [str(settings[STATE])])
        restore(arguments.source, places, arguments.pki or settings[PKI])
    except VirtyardError as error:
        sys.stderr.write(f"virtyard restore: {error.message}\n")
        return 1
    return 0


def places_of(given: Sequence[str]) -> dict[str, Path]:
    """Return the folder of each service's database.

    Raises:
        InvalidRequest: a service has none, or several.
    """
    named = [text.partition("=") for text in given if text.partition("=")[0] in KEEPERS and "=" in text]
    plain = [Path(text) for text in given if not (text.partition("=")[0] in KEEPERS and "=" in text)]
    if len(plain) > 1:
        return {name: path.parent for name, path in find_databases(plain, KEEPERS).items()}
    places = dict.fromkeys(KEEPERS, plain[0]) if plain else {}
    places |= {service: Path(folder) for service, _, folder in named}
    if missing := [service for service in KEEPERS if service not in places]:
        raise InvalidRequest.of("state", f"no folder for {', '.join(missing)}; allowed are DIR and SERVICE=DIR")
    return places


def restore(
    source: Path,
    places: dict[str, Path],
    pki: Path,
    *,
    tell: Callable[[str], None] = say,
) -> None:
    """Put a backup back, and say what was done.

    Args:
        source: the folder of the backup.
        places: the folder of each service's database.
        pki: the folder of the authority; put back only where it is missing.
        tell: is told each line.

    Raises:
        NotFound, DataLoss: there is no backup, or it is not what was written; nothing was changed.
        WrongState: the control plane runs; nothing was changed.
        Unavailable: the disk is full or cannot be written; ask again.
    """
    manifest = read_manifest(source)
    copies = check_copies(source, manifest, KEEPERS)
    parts = {
        name: Part(path=folder / f"{name}.db", migrations=f"virtyard.{name}.migrations", mark=_MARKS[name])
        for name, folder in places.items()
    }
    if not pki.exists() and manifest.get("pki") and not (source / "pki").is_dir():
        raise NotFound(f"{source / 'pki'} is missing from the backup", resource=str(source))
    kept = put_back(parts, copies, source, SystemClock().now())
    for folder in sorted(set(kept.values())):
        tell(f"what was replaced is in {folder}")
    tell(f"the databases are as they were at {manifest['create_time']}")
    if pki.exists():
        tell(f"the PKI in {pki} was left as it is")
    elif manifest.get("pki"):
        shutil.copytree(source / "pki", pki)
        tell(f"the PKI is back in {pki}")
    else:
        tell(f"the backup has no PKI, and there is none in {pki}: agents trust the one that they were given")
    tell("start the control plane: it compares itself with every agent before it begins anything")
