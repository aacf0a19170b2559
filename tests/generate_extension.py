"""The generated code of the example extension, from its protos, as its authors would make it with plain protoc."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.generate_protos import PROTOS, lay_out_google_protos, run_protoc

HERE = Path(__file__).resolve().parent / "extension"
SOURCES = ("example/noop/v1/pass.proto", "example/noop/v1/noop_service.proto")
DESCRIPTOR = "example/noop/descriptor.binpb"


def generate(target: Path) -> None:
    """Write the messages, their stubs for mypy and the descriptor set with comments below `target`."""
    google = lay_out_google_protos(HERE.parents[1] / "build" / "google_protos")
    include = [f"--proto_path={folder}" for folder in (HERE, PROTOS, google)]
    (target / DESCRIPTOR).parent.mkdir(parents=True, exist_ok=True)
    run_protoc([*include, f"--python_out={target}", f"--mypy_out=quiet:{target}", *SOURCES])
    described = f"--descriptor_set_out={target / DESCRIPTOR}"
    run_protoc([*include, described, "--include_source_info", *SOURCES])


if __name__ == "__main__":
    generate(HERE)
    sys.exit()
