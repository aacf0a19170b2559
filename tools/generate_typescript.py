"""The TypeScript of the web console's API: generated from `protos/` by protoc-gen-es, and nothing else.

It needs the packages of `clients/web` (`npm install` there). What is checked in is what this script writes; `--check`
says where the two differ.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.generate_protos import GENERATED, GOOGLE_PROTOS, PROTOS, ROOT, lay_out_google_protos, list_protos

CONSOLE = ROOT / "clients" / "web"
PLUGIN = CONSOLE / "node_modules" / ".bin" / "protoc-gen-es"
TARGET = CONSOLE / "src" / "api"
GOOGLE_USED = (
    "google/api/annotations.proto",
    "google/api/client.proto",
    "google/api/field_behavior.proto",
    "google/api/field_info.proto",
    "google/api/http.proto",
    "google/api/launch_stage.proto",
    "google/api/resource.proto",
    "google/longrunning/operations.proto",
    "google/rpc/code.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
)
"""Google's protos that ours refer to; the protobuf library of the browser brings only `google/protobuf`."""


def generate(target: Path) -> str | None:
    """Write all TypeScript into `target`; returns what protoc printed if it refused, else None."""
    lay_out_google_protos(GOOGLE_PROTOS)
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={PROTOS}", f"--proto_path={GOOGLE_PROTOS}"),
        *(f"--plugin=protoc-gen-es={PLUGIN}", f"--es_out={target}", "--es_opt=target=ts"),
        *list_protos(PROTOS, GENERATED[0]),
        *GOOGLE_USED,
    ]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    return (outcome.stderr or outcome.stdout).strip() if outcome.returncode else None


def find_differences(fresh: Path, present: Path) -> list[str]:
    """The names of all files that differ between the two folders, or are in one of them only."""
    wanted = {path.relative_to(fresh).as_posix() for path in fresh.rglob("*.ts")}
    found = {path.relative_to(present).as_posix() for path in present.rglob("*.ts")}
    same = {name for name in wanted & found if filecmp.cmp(fresh / name, present / name, shallow=False)}
    return sorted((wanted | found) - same)


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, or with `--check` compare; exits 1 when the protos do not compile or a file is not current."""
    parser = argparse.ArgumentParser(description="Generate clients/web/src/api from protos/.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is not current")
    options = parser.parse_args(arguments)
    if not PLUGIN.exists():
        print(f"{PLUGIN.relative_to(ROOT)} is missing: run `npm install` in clients/web.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="virtyard-typescript-") as folder:
        fresh = Path(folder)
        refusal = generate(fresh)
        if refusal is not None:
            print(refusal, file=sys.stderr)
            return 1
        changed = find_differences(fresh, TARGET)
        if options.check:
            for name in changed:
                print(f"clients/web/src/api/{name} is not what the protos say: run `make protos`.", file=sys.stderr)
            return 1 if changed else 0
        for name in changed:
            (TARGET / name).parent.mkdir(parents=True, exist_ok=True)
            if (fresh / name).exists():
                shutil.copyfile(fresh / name, TARGET / name)
            else:
                (TARGET / name).unlink()
        print(f"{len(changed)} files of clients/web/src/api changed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
