"""The consoles of a machine on a real site: its screen over a WebSocket, its serial line over gRPC, and who may."""

from __future__ import annotations

import asyncio
import platform
import shutil
import struct
from typing import Any

import grpc
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.acceptance import boot_images
from tests.acceptance.asking import LIMIT, create_machine, import_image, new_disk, prepare, run, start_machine
from tests.acceptance.front_door import Program, let_in
from tests.acceptance.site import Site, open_site
from virtyard.api.gateway.v1 import gateway_service_pb2, gateway_service_pb2_grpc
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.operations.v1 import kill_virtual_machine_pb2
from virtyard.runtime.pki import Authority

pytestmark = pytest.mark.timeout(240)

REFUSALS = 64
NONCE = "NONCE-OF-SERIAL-LINE"
WEB = "virtualMachines/web"


class Viewer:
    """A viewer of RFB 3.8 that knows as much of it as shows that a screen is there."""

    def __init__(self, socket: ClientConnection) -> None:
        """Speak over this WebSocket."""
        self._socket = socket
        self._buffer = b""

    async def read(self, size: int) -> bytes:
        """Return the next bytes."""
        while len(self._buffer) < size:
            message = await self._socket.recv()
            assert isinstance(message, bytes), "RFB is binary"
            self._buffer += message
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    async def greet(self) -> tuple[int, int, str]:
        """Shake hands, and return the width, the height and the name of the screen."""
        assert await self.read(12) == b"RFB 003.008\n"
        await self._socket.send(b"RFB 003.008\n")
        kinds = await self.read((await self.read(1))[0])
        assert 1 in kinds, "no security of its own: the gateway has let the viewer in"
        await self._socket.send(b"\x01")
        assert await self.read(4) == bytes(4)
        await self._socket.send(b"\x01")
        width, height, _, size = struct.unpack(">HH16sI", await self.read(24))
        return width, height, (await self.read(size)).decode()

    async def look(self, width: int, height: int) -> bytes:
        """Return the first rectangle of the whole screen, as it is drawn."""
        await self._socket.send(struct.pack(">BxHi", 2, 1, 0))
        await self._socket.send(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
        kind, count = struct.unpack(">BxH", await self.read(4))
        assert (kind, count > 0) == (0, True)
        _, _, wide, high, encoding = struct.unpack(">HHHHi", await self.read(12))
        assert encoding == 0
        return await self.read(wide * high * 4)

    async def press(self, key: int) -> None:
        """Press a key and let it go."""
        for down in (1, 0):
            await self._socket.send(struct.pack(">BBxxI", 4, down, key))


def vnc(program: Program, machine: str, **options: Any) -> connect:
    """Return what opens a machine's screen."""
    headers = {"authorization": f"Bearer {program.api_token}"}
    url = f"ws://{program.address}/console/{machine}/vnc"
    return connect(url, additional_headers=headers, max_size=None, compression=None, **options)


async def refused(program: Program, machine: str, **options: Any) -> tuple[int, str]:
    """Return with which status and words a screen is refused."""
    with pytest.raises(InvalidStatus) as answer:
        async with vnc(program, machine, **options):
            pass
    return answer.value.response.status_code, answer.value.response.body.decode()


async def serial_text(program: Program, wanted: str, offset: int = 0, *, follow: bool = True) -> tuple[str, int]:
    """Return the serial log of the machine until it has what is wanted, and the place behind."""
    said, place = b"", offset
    request = gateway_service_pb2.ReadSerialLogRequest(virtual_machine=WEB, offset_bytes=offset, follow=follow)
    async with program.channel() as channel:
        call = gateway_service_pb2_grpc.GatewayServiceStub(channel).ReadSerialLog(request, metadata=program.bearer)
        async for piece in call:
            said += piece.data
            place = piece.next_offset_bytes
            if wanted and wanted.encode() in said:
                call.cancel()
                break
    return said.decode(errors="replace"), place


@pytest.mark.qemu
async def test_the_consoles_of_a_real_machine() -> None:
    """A viewer sees a drawn screen and reads the serial line; a kill ends both; who only reads may do neither."""
    if shutil.which("qemu-img") is None or platform.machine() != "x86_64":
        pytest.skip("a PC's boot sector needs qemu on x86_64")
    with open_site("embedded", ("s1",), driver="qemu") as site:
        disk = site.shared / "debian.raw"
        disk.write_bytes(boot_images.disk(NONCE))
        async with site.client() as client, asyncio.timeout(3 * LIMIT):
            await prepare(site, client)
            await run(client, import_image(site, "debian", path=str(disk)))
            boot = virtual_machine_pb2.BootSource(boot_order=[virtual_machine_pb2.BOOT_DEVICE_DISK])
            await run(
                client, create_machine(site, "web", [new_disk(8, image="images/debian")], memory_mib=64, boot=boot)
            )
            program = await let_in(site)
            assert await refused(program, "web") == (409, f"{WEB} runs nowhere, so it has no console\n")
            assert (await refused(program, "none"))[0] == 404
            await run(client, start_machine("web"))

            text, place = await serial_text(program, NONCE)
            assert NONCE in text
            assert await serial_text(program, "", place, follow=False) == ("", place)
            assert (await serial_text(program, "", -4, follow=False))[0] == text[-4:]

            async with vnc(program, "web", subprotocols=["binary"]) as socket:
                assert socket.subprotocol == "binary"
                viewer = Viewer(socket)
                width, height, name = await viewer.greet()
                assert (width >= 640, height >= 400) == (True, True), name
                assert len(set(await viewer.look(width, height))) > 1, "the firmware has drawn something"
                await viewer.press(0xFF0D)
                await refused_to_others(site, program)
                await run(client, kill_virtual_machine_pb2.KillVirtualMachineRequest(name=WEB))
                with pytest.raises(ConnectionClosed):
                    await read_on(socket)
            assert (await refused(program, "web"))[0] == 409


async def read_on(socket: ClientConnection) -> None:
    """Read whatever comes."""
    while True:
        _ = await socket.recv()


async def refused_to_others(site: Site, program: Program) -> None:
    """See that neither a page of another site nor somebody who may only read gets in."""
    assert (await refused(program, "web", origin="http://attacker.example"))[0] == 403
    nobody = Program(address=program.address, api_token="nonsense")
    assert (await refused(nobody, "web"))[0] == 401
    folder = site.folder / "viewer"
    Authority.load(site.folder / "pki").issue("user/reader", folder, roles=["viewer"])
    reader = await let_in(site, folder)
    status, words = await refused(reader, "web")
    assert (status, "needs the role operator; user/reader has viewer" in words) == (403, True), words
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await serial_text(reader, NONCE)
    assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_simulated_machines_say_that_they_have_no_console() -> None:
    """They run, and have neither a screen nor a serial line; both are told with the reason."""
    with open_site("embedded", ("s1",)) as site:
        async with site.client() as client, asyncio.timeout(LIMIT):
            await prepare(site, client)
            await run(client, create_machine(site, "web", []))
            await run(client, start_machine("web"))
            program = await let_in(site)
            status, words = await refused(program, "web")
            assert (status, "it is simulated" in words) == (501, True), words
            folder = site.folder / "viewer"
            Authority.load(site.folder / "pki").issue("user/reader", folder, roles=["viewer"])
            reader = await let_in(site, folder)
            # Many at once: a refusal that comes while the first message is on its way must not be lost.
            told = await asyncio.gather(*(refused(reader, "web") for _ in range(REFUSALS)))
            assert {status for status, _ in told} == {403}, set(told)
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await serial_text(program, NONCE)
            assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED
