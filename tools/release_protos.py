"""The released contract: `protos/released.binpb`, what `buf breaking` compares with, and its line of the changelog.

An image is released only together with a line in CHANGELOG.md that names it by its checksum, so that nobody renews it
to quiet the check: `- Protos sha256:0123456789ab: what changed for callers.`
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.generate_protos import GOOGLE_PROTOS, ROOT, lay_out_google_protos

BUF = ROOT / "node_modules" / ".bin" / "buf"
RELEASED = ROOT / "protos" / "released.binpb"
CHANGELOG = ROOT / "CHANGELOG.md"


def name_image(image: bytes) -> str:
    """Return the name by which the changelog knows an image."""
    return f"sha256:{hashlib.sha256(image).hexdigest()[:12]}"


def has_line(changelog: str, name: str) -> bool:
    """Say whether the changelog tells what the image of that name changed, in at least three words."""
    return re.search(rf"^- Protos {re.escape(name)}: \S+ \S+ \S+", changelog, re.MULTILINE) is not None


def build_image() -> bytes:
    """Return the protos as an image, the same bytes for the same protos.

    Raises:
        subprocess.CalledProcessError: buf refused them; it has said why.
    """
    lay_out_google_protos(GOOGLE_PROTOS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.binpb"
        subprocess.run([BUF, "build", "protos", "--exclude-source-info", "-o", path], cwd=ROOT, check=True)
        return path.read_bytes()


def check() -> int:
    """Return 1 if the released image is one that the changelog does not mention."""
    if RELEASED.exists() and not has_line(CHANGELOG.read_text(), name := name_image(RELEASED.read_bytes())):
        print(f"CHANGELOG.md has no line `- Protos {name}: ...` for {RELEASED.name}", file=sys.stderr)
        return 1
    return 0


def release() -> int:
    """Renew the released image, unless the changelog has no line for it yet: then say which and return 1."""
    image = build_image()
    if RELEASED.exists() and RELEASED.read_bytes() == image:
        print("the released protos are these already")
        return 0
    name = name_image(image)
    if not has_line(CHANGELOG.read_text(), name):
        print("first say in CHANGELOG.md, under Unreleased, what changed for callers:", file=sys.stderr)
        print(f"- Protos {name}: ...", file=sys.stderr)
        return 1
    RELEASED.write_bytes(image)
    print(f"released {name}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Release the protos, or with `--check` compare the release with the changelog."""
    parser = argparse.ArgumentParser(description="Release the protos that buf compares with.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the changelog lacks the release")
    return check() if parser.parse_args(arguments).check else release()


if __name__ == "__main__":
    sys.exit(main())
