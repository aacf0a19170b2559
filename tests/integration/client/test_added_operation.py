"""An operation type that another package adds by entry point: verb, help, bad input and JSON without any other edit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.client.command_line import run, write_added_package
from tests.integration.client.fake_site import Site, operation, operation_frame
from tools.generate_protos import PROTOS, lay_out_google_protos
from virtyard.api.jobs.v1 import operation_pb2

WATER = "/greenhouse.v1.GreenhouseService/WaterPlants"
WATCH = "/virtyard.api.jobs.v1.JobService/WatchOperation"

PROTO = """
syntax = "proto3";
package greenhouse.v1;
import "google/api/field_behavior.proto";
import "google/api/resource.proto";
import "google/longrunning/operations.proto";
import "virtyard/api/type/v1/annotations.proto";
import "virtyard/api/type/v1/submission.proto";

// Looks after the plants in the server room.
service GreenhouseService {
  // Waters the plants beside a server.
  rpc WaterPlants(WaterPlantsRequest) returns (google.longrunning.Operation) {
    option (virtyard.api.type.v1.permission) = {role: ROLE_OPERATOR};
    option (virtyard.api.type.v1.method_hint) = {noun: "plant", verb: "water", title: "Water", noun_aliases: "pl"};
  }
  // Turns a virtual machine upside down.
  rpc TurnVirtualMachine(WaterPlantsRequest) returns (google.longrunning.Operation) {
    option (virtyard.api.type.v1.permission) = {role: ROLE_OPERATOR};
    option (virtyard.api.type.v1.method_hint) = {noun: "virtual-machine", verb: "turn", title: "Turn Virtual Machine"};
  }
}

// How much water each plant likes.
enum Thirst {
  // Nobody asked the plant.
  THIRST_UNSPECIFIED = 0;
  // A little water will do.
  THIRST_SMALL = 1;
  // A whole can of it.
  THIRST_LARGE = 2;
}

// Says what is to be watered.
message WaterPlantsRequest {
  // The server that the plants stand beside.
  string server = 1 [
    (google.api.field_behavior) = REQUIRED,
    (google.api.resource_reference) = {type: "virtyard.io/Server"},
    (virtyard.api.type.v1.field_hint) = {positional: true}
  ];
  // The water for each plant, in bytes for want of a better unit.
  int64 water_bytes = 2 [(virtyard.api.type.v1.field_hint) = {unit: UNIT_BYTES}];
  // How thirsty they are.
  Thirst thirst = 3;
  // Return the plan and change nothing.
  bool validate_only = 15 [(virtyard.api.type.v1.field_hint) = {flag: "preview"}];
}
"""

MODULE = """
from pathlib import Path
from types import SimpleNamespace

from greenhouse.v1 import greenhouse_pb2

WITH_COMMENTS = SimpleNamespace(
    method="greenhouse.v1.GreenhouseService.WaterPlants",
    descriptor_set=Path(__file__).with_name("described.binpb").read_bytes(),
)
BARE = SimpleNamespace(service="greenhouse.v1.GreenhouseService")
BY_MODULE = SimpleNamespace(service=greenhouse_pb2)
BROKEN = SimpleNamespace()
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder like site-packages with the generated code of the added operation, still without its entry point."""
    folder, protos = tmp_path / "site", tmp_path / "protos"
    (protos / "greenhouse" / "v1").mkdir(parents=True)
    (protos / "greenhouse" / "v1" / "greenhouse.proto").write_text(PROTO)
    (folder / "greenhouse" / "v1").mkdir(parents=True)
    google = lay_out_google_protos(tmp_path / "google")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            *(f"--proto_path={place}" for place in (protos, PROTOS, google)),
            f"--python_out={folder}",
            f"--descriptor_set_out={folder / 'greenhouse' / 'described.binpb'}",
            "--include_source_info",
            "greenhouse/v1/greenhouse.proto",
        ],
        check=True,
    )
    (folder / "greenhouse" / "__init__.py").write_text("")
    (folder / "greenhouse" / "v1" / "__init__.py").write_text("")
    (folder / "greenhouse" / "operation.py").write_text(MODULE)
    return folder


@pytest.mark.parametrize("named", ["WITH_COMMENTS", "BARE", "BY_MODULE"])
async def test_added_verb_runs(site: Site, package: Path, named: str) -> None:
    """However the entry point names its service, the verb is there, reads its flags and is sent to the jobs service."""
    write_added_package(package, f"water = greenhouse.operation:{named}")
    site.answers[WATER] = operation()
    site.streams[WATCH] = [[operation_frame(operation(state=operation_pb2.OPERATION_STATE_SUCCEEDED), "t")]]
    ended = await run(
        site, "pl", "water", "s1", "--water", "2K", "--thirst", "large", "--json", PYTHONPATH=str(package)
    )
    assert ended.err == ""
    assert json.loads(ended.out)["done"] is True
    assert ended.code == 0
    path, sent = site.asked[0]
    assert path == WATER
    assert b"servers/s1" in sent
    assert bytes([0x10, 0x80, 0x10, 0x18, 0x02]) in sent


async def test_added_verb_has_help(package: Path) -> None:
    """Its comments are its help, in the list of verbs and for its flags."""
    write_added_package(package, "water = greenhouse.operation:WITH_COMMENTS")
    path = str(package)
    everything = await run(None, "--help", PYTHONPATH=path)
    assert "plant (pl)            water" in everything.out
    machine = await run(None, "vm", "--help", PYTHONPATH=path)
    assert re.search(r"^  turn +Turns a virtual machine upside down\.$", machine.out, re.MULTILINE)
    water = await run(None, "plant", "water", "--help", PYTHONPATH=path)
    assert "Waters the plants beside a server." in water.out
    assert "--water SIZE" in water.out
    assert "How thirsty they are. One of small, large." in water.out
    assert (everything.code, machine.code, water.code) == (0, 0, 0)


async def test_added_verb_refuses_bad_input(package: Path) -> None:
    """A bad value names the flag and what is allowed, as for every other verb."""
    write_added_package(package, "water = greenhouse.operation:BARE")
    thirst = await run(None, "plant", "water", "s1", "--thirst", "huge", PYTHONPATH=str(package))
    assert "--thirst takes small or large, not 'huge'" in " ".join(thirst.err.split())
    missing = await run(None, "plant", "water", PYTHONPATH=str(package))
    assert "SERVER is missing" in missing.err
    assert (thirst.code, missing.code) == (2, 2)


async def test_broken_entry_point_is_named_and_harms_nobody(package: Path) -> None:
    """A package that adds nonsense is named on standard error, and all other verbs are still there."""
    write_added_package(package, "water = greenhouse.operation:BROKEN")
    ended = await run(None, "--help", PYTHONPATH=str(package))
    assert "entry point water of virtyard.operations cannot be used" in " ".join(ended.err.split())
    assert "virtual-machine (vm)" in ended.out
    assert ended.code == 0


async def test_own_verbs_do_not_load_added_packages(site: Site, package: Path) -> None:
    """A verb of Virtyard's own runs without importing what others add."""
    write_added_package(package, "water = greenhouse.nowhere:NOTHING")
    site.answers["/virtyard.api.jobs.v1.JobService/GetJobSummary"] = operation_pb2.JobSummary(total=3)
    ended = await run(site, "job", "summary", PYTHONPATH=str(package))
    assert ended.err == ""
    assert "total:" in ended.out
