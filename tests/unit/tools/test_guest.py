"""The guest builder's decisions: which modules and packages, what a report means, when a cached guest is good."""

from __future__ import annotations

import hashlib
import json
import lzma
import platform
import tempfile
from pathlib import Path

import pytest

from tools import guest


def test_report_is_read_whole_or_not_at_all() -> None:
    """A line that has not been written to its end is not yet a report."""
    line = "VIRTYARD nonce=n1 memory_kib=222352 cpus=2 disks=a:1024,b:2048 nics=52:54:00:00:00:01 .\r\nTICK 1\r\n"
    assert guest.parse_report(f"noise\r\n{line}") == guest.Report(
        nonce="n1", memory_kib=222352, cpus=2, disks=(("a", 1024), ("b", 2048)), nics=("52:54:00:00:00:01",)
    )
    assert all(guest.parse_report(line[:length]) is None for length in range(line.index(" .") + 2))


def test_report_of_a_machine_without_devices_is_empty_lists() -> None:
    """No disks and no network cards are no entries, not one empty entry."""
    report = guest.parse_report("VIRTYARD nonce= memory_kib=1 cpus=1 disks= nics= .\n")
    assert report is not None
    assert (report.nonce, report.disks, report.nics) == ("", (), ())


def test_modules_come_after_what_they_depend_on_and_without_what_is_built_in() -> None:
    """The order is one in which insmod works, dashes and compression notwithstanding."""
    folder = "lib/modules/6.1/kernel/drivers"
    files = {
        "lib/modules/6.1/modules.builtin": b"kernel/drivers/virtio/virtio_mmio.ko\n",
        f"{folder}/virtio/virtio.ko": b"\0depends=\0",
        f"{folder}/virtio/virtio-pci.ko.xz": lzma.compress(b"\0depends=virtio\0"),
        f"{folder}/virtio/virtio_mmio.ko": b"\0depends=\0",
        f"{folder}/block/virtio_blk.ko": b"\0depends=virtio\0",
        f"{folder}/net/unrelated.ko": b"\0depends=\0",
    }
    chosen = guest.choose_modules(files)
    assert list(chosen) == ["virtio", "virtio_pci", "virtio_blk"]
    assert chosen["virtio_pci"] == b"\0depends=virtio\0"


def test_kernel_packages_are_found_below_the_package_of_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Ubuntu the image is two packages below, and the modules are in a package of their own."""
    depends = {
        "linux-image-virtual": "Depends: linux-image-6.8.0-50-generic, linux-firmware\n",
        "linux-image-6.8.0-50-generic": "Depends: kmod, linux-base (>= 4), linux-modules-6.8.0-50-generic (= 1)\n",
    }

    def apt_cache(*command: str) -> bytes:
        return depends.get(command[-1], "Package: x\n").encode()

    monkeypatch.setattr(guest, "run", apt_cache)
    assert list(guest.list_kernel_packages("linux-image-virtual")) == [
        "linux-image-6.8.0-50-generic",
        "linux-modules-6.8.0-50-generic",
    ]


def test_cached_guest_is_used_only_if_its_files_are_unchanged(tmp_path: Path) -> None:
    """A file that is not what was put there is never booted."""
    parts = {"vmlinuz": b"kernel", "initrd.img": b"files"}
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    record = {"release": "linux-image-6", "kernel_arguments": "console=ttyS0", "sha256": checksums}
    (tmp_path / "guest.json").write_text(json.dumps(record))
    cached = guest.read_cached(tmp_path)
    assert cached is not None
    assert cached.kernel == tmp_path / "vmlinuz"
    (tmp_path / "initrd.img").write_bytes(b"other")
    assert guest.read_cached(tmp_path) is None


def test_cache_without_a_usable_home_is_a_private_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a home that can be written to, the cache is among the temporary files, closed to others."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    folder = guest.cache_folder()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("system", "machine", "package"),
    [
        ({"ID": "debian"}, "x86_64", "linux-image-cloud-amd64"),
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, "aarch64", "linux-image-virtual"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "x86_64", "linux-image-virtual"),
    ],
)
def test_kernel_is_chosen_by_distribution_and_architecture(
    monkeypatch: pytest.MonkeyPatch, system: dict[str, str], machine: str, package: str
) -> None:
    """The distribution's own kernel is meant, also on what is derived from it."""
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: system)
    assert guest.find_kernel_package(machine) == package


def test_unknown_distribution_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no kernel is known, the error says which system it looked for."""
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "fedora"})
    with pytest.raises(guest.GuestUnavailableError, match="fedora"):
        guest.find_kernel_package("x86_64")
