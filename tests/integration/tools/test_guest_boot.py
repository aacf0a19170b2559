"""The guest in a real QEMU: it boots, and reports the machine that it was given."""

from __future__ import annotations

import platform
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tools import guest

QEMU = shutil.which("qemu-system-x86_64")
DEADLINE_SECONDS = 60


@pytest.mark.qemu
@pytest.mark.skipif(platform.machine() != "x86_64" or QEMU is None, reason="qemu-system-x86_64 is not here")
def test_guest_reports_the_machine_it_was_given(tmp_path: Path) -> None:
    """Nonce, memory, processors, and each disk's serial and size come back over the serial console."""
    try:
        made = guest.make_guest()
    except guest.GuestUnavailableError as error:
        pytest.skip(str(error))
    console, disk = tmp_path / "serial.log", tmp_path / "disk.raw"
    disk.touch()
    with disk.open("r+b") as opened:
        opened.truncate(64 << 20)
    command = [str(QEMU), "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "tcg"]
    command += ["-m", "192M", "-smp", "2", "-chardev", f"file,id=console,path={console}", "-serial", "chardev:console"]
    command += ["-kernel", str(made.kernel), "-initrd", str(made.initrd)]
    command += ["-append", f"{made.kernel_arguments} virtyard.nonce=0f1e2d"]
    command += [
        "-drive",
        f"file={disk},if=none,id=disk0,format=raw",
        "-device",
        "virtio-blk-pci,drive=disk0,serial=d-1",
    ]
    command += ["-netdev", "user,id=net0,restrict=on"]
    command += ["-device", "virtio-net-pci,netdev=net0,mac=52:54:00:00:00:07,romfile="]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        report, deadline = None, time.monotonic() + DEADLINE_SECONDS
        while report is None and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
            report = guest.parse_report(console.read_text(errors="replace")) if console.exists() else None
    finally:
        process.kill()
        process.wait()
    assert report is not None, console.read_text(errors="replace")[-2000:]
    assert (report.nonce, report.cpus, report.disks) == ("0f1e2d", 2, (("d-1", 64 << 20),))
    assert report.nics == ("52:54:00:00:00:07",)
    assert 144 << 10 < report.memory_kib <= 192 << 10
