"""Images on a real site: machines boot from a disk made of one and from a CD-ROM, and what fails leaves nothing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import boot_images
from tests.acceptance.asking import (
    FAILED,
    LIMIT,
    MIB,
    SUCCEEDED,
    ask,
    create_machine,
    import_image,
    list_jobs,
    list_locks,
    list_objects,
    new_disk,
    picture,
    prepare,
    run,
    start_machine,
    wait_unlocked,
)
from tests.acceptance.site import PROGRAM, Site, open_site
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import job_service_pb2, operation_pb2
from virtyard.api.operations.v1 import edit_virtual_machine_pb2, kill_virtual_machine_pb2
from virtyard_client.client import Client

pytestmark = pytest.mark.timeout(180)

WEB = "virtualMachines/web"
DISK, CDROM = virtual_machine_pb2.BOOT_DEVICE_DISK, virtual_machine_pb2.BOOT_DEVICE_CDROM
BACKED = b"QFI\xfb\0\0\0\3" + b"".join(number.to_bytes(8, "big") for number in (512, 16, MIB)) + bytes(600)
"""The header of a qcow2 image with a backing file."""
FIRMWARE = virtual_machine_pb2.BootSource(boot_order=[DISK, CDROM])


async def virtyard(site: Site, *words: str, code: int = 0) -> str:
    """Run a command on the site, which ends with this code, and return what it printed."""
    environment = {**os.environ, "VIRTYARD_CONTEXT": str(site.context)}
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(LIMIT):
        out, _ = await process.communicate()
    assert process.returncode == code, out.decode()
    return out.decode()


async def the(client: Client, noun: str, name: str) -> Any:
    """The object of this name as it is now."""
    return next(item for item in await list_objects(client, noun) if item.name == name)


async def boots(client: Client, machine: str, nonce: str, other: str) -> None:
    """Start a machine, see that it says one nonce and not the other, and end it."""
    await run(client, start_machine(machine))
    log = Path((await the(client, "VirtualMachines", f"virtualMachines/{machine}")).placement.serial_log_path)
    async with asyncio.timeout(LIMIT):
        while nonce not in log.read_text(errors="replace"):
            await asyncio.sleep(0.05)
    assert other not in log.read_text(errors="replace")
    await run(client, kill_virtual_machine_pb2.KillVirtualMachineRequest(name=f"virtualMachines/{machine}"))


def edit(**fields: Any) -> edit_virtual_machine_pb2.EditVirtualMachineRequest:
    """The request that edits the machine."""
    return edit_virtual_machine_pb2.EditVirtualMachineRequest(
        virtual_machine=virtual_machine_pb2.VirtualMachine(name=WEB, **fields)
    )


@pytest.mark.qemu
async def test_machines_boot_from_images() -> None:
    """A disk from an image on a server, a CD-ROM from an upload: each says its nonce, in the order that is set."""
    if shutil.which("qemu-img") is None or platform.machine() != "x86_64":
        pytest.skip("a PC's boot sector needs qemu on x86_64")
    with open_site("embedded", ("s1",), driver="qemu") as site:
        local = site.folder / "installer.iso"
        local.write_bytes(boot_images.cdrom("NONCE-OF-CDROM"))
        on_server = site.shared / "debian.raw"
        on_server.write_bytes(boot_images.disk("NONCE-OF-DISK"))
        digest = hashlib.sha256(on_server.read_bytes()).hexdigest()
        async with site.client() as client:
            await prepare(site, client)
            where = ("--repository", "shared")
            path = ("--server-path", str(on_server), "--sha256", digest)
            await virtyard(site, "image", "import", "debian", *where, "--format", "disk", *path)
            await virtyard(site, "image", "import", "installer", *where, "--format", "iso", "--file", str(local))
            debian, installer = sorted(await list_objects(client, "Images"), key=lambda image: image.name)
            assert (debian.size_bytes, debian.sha256, debian.source) == (MIB, digest, f"servers/s1:{on_server}")
            assert installer.sha256 == hashlib.sha256(local.read_bytes()).hexdigest()
            assert not list((site.folder / "state" / "uploads").iterdir())

            machine = create_machine(site, "web", [new_disk(8, image="images/debian")], memory_mib=64, boot=FIRMWARE)
            machine.virtual_machine.cdrom = "images/installer"
            await run(client, machine)
            assert (await the(client, "VirtualDisks", "virtualDisks/web-disk0")).size_bytes == 8 * MIB
            await boots(client, "web", "NONCE-OF-DISK", "NONCE-OF-CDROM")
            await virtyard(site, "vm", "edit", "web", "--boot-order", "cdrom,disk")
            await boots(client, "web", "NONCE-OF-CDROM", "NONCE-OF-DISK")
            refused = await virtyard(site, "image", "delete", "installer", code=2)
            assert "is in the CD-ROM drive of virtualMachines/web" in refused
            await run(client, edit(boot=virtual_machine_pb2.BootSource(boot_order=[DISK])))
            await boots(client, "web", "NONCE-OF-DISK", "NONCE-OF-CDROM")
            assert site.guests() == []


async def test_an_import_that_is_aborted_half_way_leaves_nothing() -> None:
    """Between a tenth and nine tenths, with bytes told on the way: no file, no record and no lock stay."""
    with open_site("embedded", ("s1",)) as site:
        source = site.shared / "large.raw"
        source.touch()
        os.truncate(source, 8 << 30)
        async with site.client() as client:
            await prepare(site, client)
            await wait_unlocked(client)
            before = await picture(site, client)
            importing = await ask(client, import_image(site, "large", path=str(source)))
            job = await half_way(client, importing.name)
            await client.jobs.AbortJob(job_service_pb2.AbortJobRequest(name=job))
            story = await client.wait(importing.name, timeout=LIMIT)
            assert story.state == operation_pb2.OPERATION_STATE_CANCELLED
            await wait_unlocked(client)
            assert await picture(site, client) == before


async def half_way(client: Client, operation: str) -> str:
    """Wait until between a tenth and nine tenths of the bytes are copied, and return the name of the job."""
    async with asyncio.timeout(LIMIT):
        while True:
            (job,) = await list_jobs(client, operation)
            progress = job.progress
            if progress.total_units and progress.done_units * 10 >= progress.total_units:
                assert progress.done_units * 10 < progress.total_units * 9, "the copy was too quick to be caught"
                return str(job.name)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("content", "fields", "said"),
    [
        (b"debian", {"sha256": "0" * 64}, "is not the digest of the file"),
        (BACKED, {}, "another file as its backing"),
        (b"\x1f\x8b\x08", {}, "is compressed by gzip"),
        (b"debian", {"iso": True}, "is no ISO 9660 or UDF image"),
    ],
)
async def test_a_file_that_is_not_what_it_should_be_is_not_kept(
    content: bytes, fields: dict[str, Any], said: str
) -> None:
    """The job fails with the reason, and leaves nothing."""
    with open_site("embedded", ("s1",)) as site:
        source = site.shared / "in.raw"
        source.write_bytes(content)
        async with site.client() as client:
            await prepare(site, client)
            await wait_unlocked(client)
            before = await picture(site, client)
            story = await run(client, import_image(site, "bad", path=str(source), **fields), ended=FAILED)
            assert story.error is not None
            assert said in story.error.message
            await wait_unlocked(client)
            assert await picture(site, client) == before


async def test_an_upload_is_fetched_across_a_kill_of_the_inventory() -> None:
    """Killed in the middle and back, it is asked for the rest; the upload goes with its import, and is used once."""
    with open_site("split", ("s1",)) as site:
        local = site.folder / "large.raw"
        local.write_bytes(os.urandom(4 * MIB) * 64)
        async with site.client() as client:
            await prepare(site, client)
            upload = await client.upload(local)
            importing = await ask(client, import_image(site, "large", upload=upload.name))
            await half_way(client, importing.name)
            site.kill("inventory")
            site.start("inventory")
            assert (await client.wait(importing.name, timeout=LIMIT)).state == SUCCEEDED
            image = await the(client, "Images", "images/large")
            assert (image.sha256, image.source) == (upload.sha256, upload.name)
            again = await run(client, import_image(site, "again", upload=upload.name), ended=FAILED)
            assert again.error is not None
            assert f"{upload.name} does not exist" in again.error.message
            await wait_unlocked(client)
            assert not await list_locks(client)


async def test_an_agent_that_is_killed_half_way_begins_anew() -> None:
    """What was copied by then is found by its mark and removed; the image that comes of it in the end is whole."""
    with open_site("embedded", ("s1",)) as site:
        source = site.shared / "large.raw"
        source.write_bytes(os.urandom(4 * MIB) * 128)
        async with site.client() as client:
            await prepare(site, client)
            importing = await ask(client, import_image(site, "large", path=str(source)))
            await half_way(client, importing.name)
            site.kill("s1")
            (part,) = site.shared.glob("shared/disks/*.part")
            # Held open, so that its number is not given to another file.
            with part.open("rb") as first:
                site.start("s1")
                assert (await client.wait(importing.name, timeout=LIMIT)).state == SUCCEEDED
                image = await the(client, "Images", "images/large")
                whole = site.shared / "shared" / image.path
                assert whole.stat().st_ino != os.fstat(first.fileno()).st_ino
            assert image.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
            assert [path.suffix for path in sorted(whole.parent.iterdir())] == [".img", ".json"]
