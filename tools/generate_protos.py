"""The proto tool-chain: Python code, type stubs and the commented descriptor set, from `protos/` and nothing else.

The proto path is the import path: `protos/virtyard/api/jobs/v1/job.proto` becomes `virtyard.api.jobs.v1.job_pb2`, so no
import is ever rewritten. What is checked in is what this script writes; `--check` says where the two differ.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
SERVICES = ROOT / "services"
GOOGLE_PROTOS = ROOT / "build" / "google_protos"
"""Google's protos under their real names: an include folder for protoc and a second module for buf, never committed."""

GENERATED = ("virtyard/api", "virtyard/internal")
"""The folders, below both `protos/` and `services/`, that belong to the generator as a whole."""

DESCRIPTOR = "virtyard/api/descriptor.binpb"
"""Where the public descriptor set goes: with comments, without google's files."""

RENAMED = {"google/longrunning/operations_proto.proto": "google/longrunning/operations.proto"}
"""Protos that the googleapis-common-protos wheel ships under another name than the one that everybody imports."""


class ProtocError(Exception):
    """The compiler refused the protos; the message is what it printed."""


def lay_out_google_protos(target: Path) -> Path:
    """Copy google's protos from the installed wheel to `target`, each under the path by which it is imported."""
    wheel = metadata.distribution("googleapis-common-protos")
    for file in wheel.files or ():
        name = file.as_posix()
        if not name.endswith(".proto"):
            continue
        source, copy = Path(str(wheel.locate_file(file))), target / RENAMED.get(name, name)
        if not copy.exists() or not filecmp.cmp(source, copy, shallow=False):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
    return target


def list_protos(protos: Path, below: str) -> list[str]:
    """The import paths of all protos below `below`, sorted so that the output never depends on the disk."""
    return sorted(path.relative_to(protos).as_posix() for path in (protos / below).rglob("*.proto"))


def run_protoc(arguments: Sequence[str]) -> None:
    """Run the protoc of grpcio-tools with the mypy plug-ins of this Python's own environment."""
    plugins = [
        f"--plugin=protoc-gen-{name}={Path(sys.executable).with_name(f'protoc-gen-{name}')}"
        for name in ("mypy", "mypy_grpc")
    ]
    command = [sys.executable, "-m", "grpc_tools.protoc", *plugins, *arguments]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    if outcome.returncode:
        raise ProtocError((outcome.stderr or outcome.stdout).strip())


def write_packages(target: Path, generated: str) -> None:
    """Write the `__init__.py` files that protoc leaves out, each naming the protos behind it."""
    for folder in sorted({path.parent for path in (target / generated).rglob("*_pb2.py")}):
        for package in (folder, *folder.parents):
            source = package.relative_to(target).as_posix()
            text = f'"""Generated from protos/{source}: change the protos and run `make protos`."""\n'
            (package / "__init__.py").write_text(text)
            if source == generated:
                break


def generate(protos: Path, google: Path, target: Path) -> None:
    """Generate everything that comes from `protos` into `target`, which stands for `services/`.

    Raises:
        ProtocError: the protos do not compile.
    """
    target.mkdir(parents=True, exist_ok=True)
    include = [f"--proto_path={protos}", f"--proto_path={google}"]
    for generated in GENERATED:
        messages = list_protos(protos, generated)
        if not messages:
            continue
        run_protoc([*include, f"--python_out={target}", f"--mypy_out=quiet:{target}", *messages])
        services = [name for name in messages if name.endswith("_service.proto")]
        if services:
            run_protoc(
                [*include, f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet,only_async:{target}", *services]
            )
        write_packages(target, generated)
    public = list_protos(protos, GENERATED[0])
    if public:
        run_protoc([*include, f"--descriptor_set_out={target / DESCRIPTOR}", "--include_source_info", *public])


def list_files(folder: Path) -> set[str]:
    """All generated files of `folder`, relative to it, without what Python and mypy leave there."""
    found: set[str] = set()
    for generated in GENERATED:
        for path in (folder / generated).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found.add(path.relative_to(folder).as_posix())
    return found


def find_differences(fresh: Path, present: Path) -> Iterator[str]:
    """Yield, by name, each file of `present` that is not what was freshly generated."""
    wanted, found = list_files(fresh), list_files(present)
    for name in sorted(wanted | found):
        if name not in found or name not in wanted or not filecmp.cmp(fresh / name, present / name, shallow=False):
            yield name


def replace(fresh: Path, present: Path) -> list[str]:
    """Make `present` hold what `fresh` holds, touching only files that differ, and return their names."""
    changed = list(find_differences(fresh, present))
    for name in changed:
        if (fresh / name).exists():
            (present / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fresh / name, present / name)
        else:
            (present / name).unlink()
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, or with `--check` compare; exits 1 when the protos do not compile or a file is not current."""
    parser = argparse.ArgumentParser(description="Generate services/virtyard/api from protos/.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is not current")
    parser.add_argument("--google", action="store_true", help="only lay out google's protos under build/, for buf")
    parser.add_argument("--protos", type=Path, default=PROTOS, help="the folder that holds the protos")
    parser.add_argument("--out", type=Path, default=SERVICES, help="the folder that stands for services/")
    options = parser.parse_args(arguments)
    google = lay_out_google_protos(GOOGLE_PROTOS)
    if options.google:
        return 0
    with tempfile.TemporaryDirectory(prefix="virtyard-protos-") as folder:
        fresh = Path(folder)
        try:
            generate(options.protos, google, fresh)
        except ProtocError as error:
            print(error, file=sys.stderr)
            return 1
        if options.check:
            stale = list(find_differences(fresh, options.out))
            for name in stale:
                print(f"{name} is not what the protos say; run `make protos`", file=sys.stderr)
            return 1 if stale else 0
        for name in replace(fresh, options.out):
            print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
