"""Looking through a repository: its space, its images, and what belongs to no disk or image."""

from __future__ import annotations

from collections.abc import Iterator

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.storage.contract import Place, Scan
from virtyard.api.actions.v1 import scan_repository_pb2
from virtyard.api.participant.v1 import finding_pb2

_MOST_NAMED = 100
"""How many files that belong to nothing are named; a folder of strangers must not flood everybody with events."""


async def do(message: scan_repository_pb2.ScanRepository, context: Context) -> Outcome:
    """Compare the files with the disks and images.

    Raises:
        InvalidRequest: the folder is not under a storage root.
        WrongState: it is not this repository.
    """
    place = Place(path=message.repository_path, uid=message.repository_uid)
    scan = await context.host.storage.scan(place, frozenset(file.uid for file in message.files))
    result = scan_repository_pb2.ScanRepositoryResult(
        total_bytes=scan.usage.total_bytes,
        free_bytes=scan.usage.free_bytes,
        promised_bytes=scan.usage.promised_bytes,
        images=scan.images,
        missing=[file.uid for file in message.files if file.uid not in scan.images],
        foreign_files=scan.foreign[:_MOST_NAMED],
        foreign_count=len(scan.foreign),
        findings=_findings(message, scan),
    )
    return Outcome(result=result, changed=False)


def _findings(message: scan_repository_pb2.ScanRepository, scan: Scan) -> Iterator[finding_pb2.Finding]:
    where = f"{message.repository} ({message.repository_path})"
    for file in message.files:
        if file.uid not in scan.images:
            text = f"the file of {file.object} is missing in {where}"
            yield finding_pb2.Finding(type="IMAGE_MISSING", object=file.object, message=text)
    for path in scan.foreign[:_MOST_NAMED]:
        text = f"{path} in {where} belongs to no disk or image"
        yield finding_pb2.Finding(type="FOREIGN_FILE", object=message.repository, message=text)
    if len(scan.foreign) > _MOST_NAMED:
        text = f"{len(scan.foreign) - _MOST_NAMED} more files in {where} belong to no disk or image"
        yield finding_pb2.Finding(type="FOREIGN_FILE", object=message.repository, message=text)


ACTION = Action(message=scan_repository_pb2.ScanRepository, lane=Lane.STORAGE, do=do, probe=do)
