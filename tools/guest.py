"""A guest that boots in seconds: the distribution's own kernel with a busybox initial file system made on the spot.

Nothing of it needs root and nothing of it is committed: apt downloads and verifies the packages, they are read without
being installed, and the result lies in the user's cache folder with checksums that every reuse compares. What the guest
says on its serial console is in `parse_report`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import io
import json
import lzma
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import initramfs

INIT = (Path(__file__).with_name("guest_init.sh")).read_bytes()
"""The guest's first process, a script for busybox."""

MODULES = ("virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "button", "evdev")
"""What the guest needs of the kernel to see its disks, its network cards and its power button, built in or not."""

KERNELS = {
    ("debian", "x86_64"): "linux-image-cloud-amd64",
    ("debian", "aarch64"): "linux-image-cloud-arm64",
    ("ubuntu", "x86_64"): "linux-image-virtual",
    ("ubuntu", "aarch64"): "linux-image-virtual",
}
"""The package that depends on the newest kernel for virtual machines, by distribution and architecture."""

KERNEL_PART = re.compile(r"linux-(image|modules)-(unsigned-)?\d")
"""The packages that hold one kernel's image and modules, as against those that only depend on the newest."""

CONSOLES = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}


class GuestUnavailableError(Exception):
    """No guest can be made on this machine; the message says why and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """The two files that a machine boots from, and what it must be told."""

    kernel: Path
    """The kernel image."""
    initrd: Path
    """The initial file system."""
    kernel_arguments: str
    """What makes the kernel quick, and its console the serial one."""
    release: str
    """The package that the kernel came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a guest says of itself once it runs, read from its serial console."""

    nonce: str
    """The value of `virtyard.nonce` in the kernel arguments."""
    memory_kib: int
    """The memory that the guest's kernel manages, in KiB; a little less than the machine has."""
    cpus: int
    """The number of processors."""
    disks: tuple[tuple[str, int], ...]
    """Serial number and size in bytes of each disk, in the guest's order."""
    nics: tuple[str, ...]
    """The hardware address of each network card, in the guest's order."""


def parse_report(console: str) -> Report | None:
    """Find the report in what a guest wrote to its console; none if it has not come that far.

    The line is `VIRTYARD nonce=N memory_kib=N cpus=N disks=SERIAL:BYTES,... nics=MAC,... .`, whole with its dot.
    """
    found = re.search(
        r"^VIRTYARD nonce=(\S*) memory_kib=(\d+) cpus=(\d+) disks=(\S*) nics=(\S*) \.\s*$", console, re.MULTILINE
    )
    if found is None:
        return None
    nonce, memory, cpus, disks, nics = found.groups()
    pairs = (disk.rpartition(":") for disk in disks.split(",") if disk)
    return Report(
        nonce=nonce,
        memory_kib=int(memory),
        cpus=int(cpus),
        disks=tuple((serial, int(size)) for serial, _, size in pairs),
        nics=tuple(nic for nic in nics.split(",") if nic),
    )


# --- the kernel ------------------------------------------------------------------------------------------------------


def find_kernel_package(machine: str) -> str:
    """Return the package with the newest kernel for virtual machines.

    Raises:
        GuestUnavailableError: this is no Debian or Ubuntu, or an architecture without such a kernel.
    """
    try:
        system = platform.freedesktop_os_release()
    except OSError as error:
        raise GuestUnavailableError("this machine has no os-release file, so no kernel is known for it") from error
    for distribution in (system["ID"], *system.get("ID_LIKE", "").split()):
        if package := KERNELS.get((distribution, machine)):
            return package
    raise GuestUnavailableError(f"no kernel package is known for {system['ID']} on {machine}")


def run(*command: str, folder: Path | None = None) -> bytes:
    """Run a program and return what it printed.

    Raises:
        GuestUnavailableError: it is missing or failed; the message ends with its own last line.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        outcome = subprocess.run(
            command, capture_output=True, check=False, cwd=folder, env=environment, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise GuestUnavailableError(f"{command[0]} is not installed") from error
    if outcome.returncode:
        reason = (outcome.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise GuestUnavailableError(f"{' '.join(command)}: {reason}")
    return outcome.stdout


def list_kernel_packages(package: str) -> Iterator[str]:
    """Yield the packages below `package` that hold the kernel's image and modules; names alone, from apt's lists."""
    wanted, seen = [package], set()
    while wanted:
        name = wanted.pop(0)
        if name in seen:
            continue
        seen.add(name)
        try:
            about = run("apt-cache", "show", "--no-all-versions", name).decode()
        except GuestUnavailableError as error:
            raise GuestUnavailableError(f"{error} (where apt's lists are empty, `apt-get update` helps)") from error
        depends = re.search(r"^Depends: (.*)$", about, re.MULTILINE)
        alternatives = re.split(r"[,|]\s*", depends[1] if depends else "")
        wanted += [name.split()[0] for name in alternatives if KERNEL_PART.match(name)]
        if KERNEL_PART.match(name):
            yield name


def download(package: str, folder: Path) -> Path:
    """Download a package into the folder; apt checks its signature. Nothing is installed."""
    print(f"guest: downloading {package}", file=sys.stderr)
    run("apt-get", "-q", "download", package, folder=folder)
    return next(folder.glob(f"{package}_*.deb"))


def read_package(package: Path, wanted: re.Pattern[str]) -> dict[str, bytes]:
    """Return the files of a package whose path (without the leading `./`) matches."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(run("dpkg-deb", "--fsys-tarfile", str(package)))) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if member.isfile() and wanted.fullmatch(name) and (content := archive.extractfile(member)):
                found[name] = content.read()
    return found


def read_module(name: str, content: bytes) -> bytes:
    """Return a kernel module without its compression."""
    if name.endswith(".xz"):
        return lzma.decompress(content)
    if name.endswith(".zst"):
        with tempfile.NamedTemporaryFile(suffix=".zst") as packed:
            packed.write(content)
            packed.flush()
            return run("zstd", "-qdc", packed.name)
    return content


def choose_modules(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the modules that the guest must load, in the order of loading; none that the kernel has built in."""

    def plain(path: str) -> str:
        return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")

    lists = (text.decode() for name, text in files.items() if name.endswith("modules.builtin"))
    built_in = {plain(line) for text in lists for line in text.splitlines()}
    modules = {plain(name): name for name in files if ".ko" in name}
    chosen: dict[str, bytes] = {}

    def choose(module: str) -> None:
        if module in built_in or module in chosen or module not in modules:
            return
        content = read_module(modules[module], files[modules[module]])
        depends = re.search(rb"\0depends=([^\0]*)\0", content)
        for below in (depends[1].decode() if depends else "").split(","):
            choose(below.replace("-", "_"))
        chosen[module] = content

    for module in MODULES:
        choose(module)
    return chosen


# --- the initial file system -----------------------------------------------------------------------------------------


def read_busybox(folder: Path) -> bytes:
    """Return a statically linked busybox: the installed one, or the one from its package."""
    for place in (Path("/bin/busybox"), Path("/usr/bin/busybox")):
        # A dynamic program names its loader; a static one does not.
        if place.is_file() and b"/ld-linux" not in (content := place.read_bytes())[:4096]:
            return content
    files = read_package(download("busybox-static", folder), re.compile(r"(usr/)?bin/busybox"))
    return next(iter(files.values()))


def build_initrd(busybox: bytes, modules: dict[str, bytes]) -> bytes:
    """Return the initial file system: busybox, the modules in order, and the script that reports."""
    entries = [initramfs.folder(name) for name in ("bin", "dev", "lib", "lib/modules", "proc", "sys", "tmp")]
    entries += [initramfs.character_device("dev/console", 5, 1), initramfs.character_device("dev/null", 1, 3)]
    entries += [initramfs.file("bin/busybox", busybox, executable=True), initramfs.file("init", INIT, executable=True)]
    entries += [initramfs.file(f"lib/modules/{name}.ko", content) for name, content in modules.items()]
    entries.append(initramfs.file("lib/modules/order", "".join(f"{name}\n" for name in modules).encode()))
    return initramfs.write_archive(entries)


def build(folder: Path, package: str, machine: str) -> None:
    """Make kernel, initrd and their record in the folder."""
    files: dict[str, bytes] = {}
    wanted = re.compile(
        r"boot/vmlinuz-.*|.*/modules\.builtin|.*/kernel/(drivers/(acpi|block|input|net|virtio)|net/core)/[^/]*\.ko.*"
    )
    release = ""
    for name in list_kernel_packages(package):
        files |= read_package(download(name, folder), wanted)
        release = release or name
    kernel = next((content for name, content in files.items() if name.startswith("boot/vmlinuz-")), None)
    if kernel is None:
        raise GuestUnavailableError(f"{package} leads to no package with a kernel image")
    parts = {"vmlinuz": kernel, "initrd.img": build_initrd(read_busybox(folder), choose_modules(files))}
    for name, content in parts.items():
        (folder / name).write_bytes(content)
    record = {
        "release": release,
        "kernel_arguments": f"console={CONSOLES[machine]} quiet panic=-1",
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()},
    }
    (folder / "guest.json").write_text(json.dumps(record, indent=2) + "\n")
    for downloaded in folder.glob("*.deb"):
        downloaded.unlink()


# --- the cache -------------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Return the folder for guests in the user's cache; without a usable home, a private one among the temporary files.

    Raises:
        GuestUnavailableError: somebody else owns that private folder.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 (Path.home raises without HOME)
    folder = Path(home) / "virtyard" / "guest"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    folder = Path(tempfile.gettempdir()) / f"virtyard-cache-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise GuestUnavailableError(f"{folder} belongs to somebody else")
    return folder


def read_cached(folder: Path) -> Guest | None:
    """Return the guest in the folder if its files are the ones that were put there."""
    try:
        record = json.loads((folder / "guest.json").read_text())
        for name, checksum in record["sha256"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != checksum:
                print(f"guest: {folder / name} is damaged; making it again", file=sys.stderr)
                return None
    except (OSError, ValueError, KeyError):
        return None
    return Guest(
        kernel=folder / "vmlinuz",
        initrd=folder / "initrd.img",
        kernel_arguments=record["kernel_arguments"],
        release=record["release"],
    )


def make_guest() -> Guest:
    """Return the guest of this machine's distribution and architecture, from the cache or made now.

    Raises:
        GuestUnavailableError: there is no kernel to be had; the message says why.
    """
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine(), platform.machine())
    package = find_kernel_package(machine)
    system = platform.freedesktop_os_release()
    recipe = hashlib.sha256(INIT + Path(__file__).read_bytes() + Path(initramfs.__file__).read_bytes()).hexdigest()
    folder = cache_folder() / f"{system['ID']}-{system.get('VERSION_ID', 'rolling')}-{machine}-{recipe[:12]}"
    if guest := read_cached(folder):
        return guest
    fresh = Path(tempfile.mkdtemp(prefix="new-", dir=folder.parent))
    try:
        build(fresh, package, machine)
        shutil.rmtree(folder, ignore_errors=True)
        # Another process may have finished first; its files are as good as ours.
        with contextlib.suppress(OSError):
            fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    guest = read_cached(folder)
    if guest is None:
        raise GuestUnavailableError(f"the files in {folder} do not keep what is written to them")
    return guest


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the guest and print where it is, as one JSON object."""
    parser = argparse.ArgumentParser(description="Make the guest that the demo and the tests boot.")
    parser.parse_args(arguments)
    try:
        guest = make_guest()
    except GuestUnavailableError as error:
        print(f"guest: {error}", file=sys.stderr)
        return 1
    print(json.dumps(dataclasses.asdict(guest), default=str))
    return 0


if __name__ == "__main__":
    sys.exit(main())
