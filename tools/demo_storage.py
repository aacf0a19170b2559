"""The storage that the demo writes to: its images, and how large a disk takes a few seconds to write here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tools.demo_site import DemoError

MIB = 1 << 20
ABORT_SECONDS = 5.0
"""How long the disk that is aborted would take to write."""
LEAST = 512 * MIB
"""The smallest disk that takes long enough to be caught while it is written."""


def images(repository: Path) -> Iterator[Path]:
    """Yield the images of disks in a repository."""
    return (path for path in repository.rglob("*") if path.suffix in (".qcow2", ".raw"))


def virtual_size(image: Path) -> int:
    """Return the size that a guest sees of an image, in bytes, as qemu-img tells it; a raw one is as large as it is."""
    if image.suffix == ".raw":
        return image.stat().st_size
    told = subprocess.run(["qemu-img", "info", "--output=json", str(image)], capture_output=True, check=True)
    return int(json.loads(told.stdout)["virtual-size"])


def room(folder: Path) -> int:
    """Return how large a disk the demo may write here, in bytes: half of what is free."""
    return shutil.disk_usage(folder).free // 2 // MIB * MIB


def choose_size(folder: Path) -> int:
    """Return the size of a disk that takes a few seconds to write here, in bytes, and that there is room for.

    Raises:
        DemoError: there is no room to speak of.
    """
    most = room(folder)
    if most < LEAST:
        raise DemoError(f"{folder} has {2 * most // MIB} MiB free, and {2 * LEAST // MIB} MiB are needed")
    block, probe = os.urandom(MIB) * 16, folder / "speed"
    began = time.monotonic()
    try:
        with probe.open("wb", buffering=0) as file:
            for _ in range(16):
                file.write(block)
            os.fsync(file.fileno())
    finally:
        probe.unlink(missing_ok=True)
    speed = 16 * len(block) / (time.monotonic() - began)
    return max(LEAST, min(int(speed * ABORT_SECONDS), most, 8192 * MIB)) // MIB * MIB
