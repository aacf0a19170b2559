"""The public API as a whole: what changes something is an operation, and every kind of object can be changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources

from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto

from virtyard.api.inventory.v1 import object_pb2
from virtyard.kernel.names import kinds

READS = re.compile(r"(Get|List|Watch|Count|Explain|Export|Read)[A-Z]\w*|Watch")
EXCEPTIONS = {
    "AutomationService.DiscardWebhookDeliveries": "forgets what was given up; only one receiver's line changes",
    "AutomationService.RetryWebhookDeliveries": "sends events again; no object changes, only the line of one receiver",
    "AgentService.OpenDisplay": "carries a screen and keys; what they do within the machine changes no object",
    "GatewayService.CreateApiToken": "lets a program speak as its maker; only a digest is kept, and no object changes",
    "GatewayService.CreateLink": "lets its maker in to the console; the gateway keeps a digest, and no object changes",
    "GatewayService.RevokeGrant": "signs somebody out; the gateway forgets a digest, and no object changes",
    "InventoryService.AcknowledgeEvent": "no object changes; the event keeps who did it, when, why, by force or not",
    "InventoryService.AcknowledgeEvents": "acknowledges many; each event keeps who did it, when, why, by force or not",
    "JobService.AbortJob": "asks a job to end; the job that it changes is its own record",
    "JobService.AbortJobs": "asks many jobs to end; the jobs that it changes are their own records",
    "JobService.AcceptJob": "lets a job that cannot be undone end; the job that it changes is its own record",
    "JobService.HoldJob": "sets a job aside; the job that it changes is its own record, and an event tells of it",
    "JobService.ReleaseJob": "lets a job go on; the job that it changes is its own record, and an event tells of it",
    "JobService.RetryJob": "asks a job to go on; the job that it changes is its own record",
    "JobService.SetJobPriority": "moves a job in its queues; its own record changes, and an event tells of it",
    "LockControlService.BreakLock": "ends an operation, as an abort does; what it did is undone by its own record",
    "LockControlService.ReleaseLock": "ends a person's lock, which no object knows of",
    "LockControlService.TakeLock": "takes a person's lock, which changes no object",
    "LockService.Acquire": "between services: the scheduler asks for the locks of an operation",
    "LockService.Reassert": "between services: the scheduler says what is held after a restore",
    "LockService.Release": "between services: the scheduler gives them back",
    "LockService.SetPriority": "between services: the scheduler moves an operation in its queues",
    "ParticipantService.Execute": "between services: the steps of an operation",
    "ParticipantService.Hello": "between services: what is known of a ledger, and what may be forgotten",
    "ParticipantService.Resync": "between services: what is open at a participant whose ledger was lost",
    "ParticipantService.Settle": "between services: what became of a step",
    "UploadService.Upload": "stages bytes that nothing depends on; the job begins where an import uses them",
}
"""Methods that change something and are no operations, each with its reason; every one is audited by its caller."""


def methods() -> Iterator[tuple[str, MethodDescriptorProto]]:
    """Yield every method of the public services, as `JobService.GetJob`."""
    data = (resources.files("virtyard.api") / "descriptor.binpb").read_bytes()
    for file in FileDescriptorSet.FromString(data).file:
        for service in file.service:
            for method in service.method:
                yield f"{service.name}.{method.name}", method


def test_every_change_is_an_operation() -> None:
    """A method reads, or returns an operation, or is on the short list."""
    changing = {name: method for name, method in methods() if not READS.fullmatch(method.name)}
    others = {name for name, method in changing.items() if method.output_type != ".google.longrunning.Operation"}
    assert others == set(EXCEPTIONS)


def test_no_reading_method_returns_an_operation() -> None:
    """Names tell the two apart."""
    returning = {name for name, method in methods() if method.output_type == ".google.longrunning.Operation"}
    assert not {name for name in returning if READS.fullmatch(name.partition(".")[2])}


def test_every_kind_of_object_can_be_read_and_updated() -> None:
    """Get, list and update for each; an object that was added without one is named here."""
    known = {name.partition(".")[2] for name, _ in methods()}
    kinds_by_field = {kind.field: kind for kind in kinds().values()}
    for field in object_pb2.Object.DESCRIPTOR.fields:
        assert field.message_type is not None
        name = field.message_type.name
        plural = kinds_by_field[field.name].collection
        wanted = {f"Get{name}", f"List{plural[0].upper()}{plural[1:]}", f"Update{name}"}
        assert wanted <= known, wanted - known
