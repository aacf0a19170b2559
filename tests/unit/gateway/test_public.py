"""The public methods: all that people may call, and nothing else."""

from __future__ import annotations

from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.gateway.public import public_methods, public_services
from virtyard.runtime.rpc import role_of

PEOPLE = {Role.ROLE_VIEWER, Role.ROLE_OPERATOR, Role.ROLE_ADMINISTRATOR}


def test_every_rpc_of_people_is_public() -> None:
    """Of the services that are found no such rpc is missing, and none that others may call is there."""
    services = public_services()
    methods = public_methods(services)
    for service in services:
        for method in service.methods:
            assert (f"/{service.full_name}/{method.name}" in methods) == (role_of(method) in PEOPLE), method.full_name


def test_the_services_are_found_with_their_owners() -> None:
    """The scheduler has what nobody else has: google's operations too."""
    owners = {method.service: method.owner for method in public_methods(public_services()).values()}
    assert owners == {
        "google.longrunning.Operations": "jobs",
        "virtyard.api.gateway.v1.GatewayService": "gateway",
        "virtyard.api.inventory.v1.InventoryService": "inventory",
        "virtyard.api.inventory.v1.UploadService": "inventory",
        "virtyard.api.jobs.v1.AutomationService": "jobs",
        "virtyard.api.jobs.v1.JobService": "jobs",
        "virtyard.api.jobs.v1.LockControlService": "jobs",
        "virtyard.api.locks.v1.LockService": "locks",
        "virtyard.api.operations.v1.OperationService": "jobs",
    } | {name: owner for name, owner in owners.items() if name.startswith("example.")}
