"""Images that a PC's firmware boots: a boot sector that says a nonce on the serial port, as a disk and as a CD-ROM."""

from __future__ import annotations

SECTOR, BLOCK = 512, 2048
_CATALOG, _BOOT, _ROOT = 19, 20, 21
"""The blocks of the CD-ROM that come after its volume descriptors."""

# Loaded at 0x7C00. COM1 is at 0x3F8, and bit 5 of the port at 0x3FD says that it takes a byte.
_CODE = bytes.fromhex(
    "fa"  # 7C00 cli
    "ea067c0000"  # 7C01 jmp 0:7C06
    "31c0"  # 7C06 xor ax, ax
    "8ed8"  # 7C08 mov ds, ax
    "be287c"  # 7C0A mov si, 7C28
    "fc"  # 7C0D cld
    "ac"  # 7C0E lodsb
    "84c0"  # 7C0F test al, al
    "7412"  # 7C11 jz 7C25
    "88c3"  # 7C13 mov bl, al
    "bafd03"  # 7C15 mov dx, 3FD
    "ec"  # 7C18 in al, dx
    "a820"  # 7C19 test al, 20
    "74fb"  # 7C1B jz 7C18
    "baf803"  # 7C1D mov dx, 3F8
    "88d8"  # 7C20 mov al, bl
    "ee"  # 7C22 out dx, al
    "ebe9"  # 7C23 jmp 7C0E
    "f4"  # 7C25 hlt
    "ebfd"  # 7C26 jmp 7C25
)


def boot_sector(nonce: str) -> bytes:
    """Return a boot sector that writes the nonce and a line's end to COM1, and halts."""
    code = _CODE + nonce.encode() + b"\r\n\0"
    return code.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def disk(nonce: str, size_bytes: int = 1 << 20) -> bytes:
    """Return a raw disk that boots."""
    return boot_sector(nonce).ljust(size_bytes, b"\0")


def cdrom(nonce: str) -> bytes:
    """Return an ISO 9660 image that boots by El Torito without emulation: the firmware loads its boot sector."""
    blocks = [bytes(BLOCK)] * 16
    blocks += [_primary(), _boot_record(), _descriptor(255, b""), _catalog()]
    return b"".join([*blocks, boot_sector(nonce).ljust(BLOCK, b"\0"), _root_folder()])


def _descriptor(kind: int, body: bytes) -> bytes:
    return (bytes([kind]) + b"CD001\x01" + body).ljust(BLOCK, b"\0")


def _both(number: int, length: int) -> bytes:
    return number.to_bytes(length, "little") + number.to_bytes(length, "big")


def _folder_entry(name: bytes) -> bytes:
    times = bytes([126, 1, 1, 0, 0, 0, 0])
    entry = b"\0" + _both(_ROOT, 4) + _both(BLOCK, 4) + times + b"\x02\0\0" + _both(1, 2) + bytes([len(name)]) + name
    return bytes([len(entry) + 1]) + entry


def _primary() -> bytes:
    names = b"\0" + b" " * 32 + b"NONCE".ljust(32) + bytes(8)
    sizes = _both(_ROOT + 1, 4) + bytes(32) + _both(1, 2) + _both(1, 2) + _both(BLOCK, 2)
    tables = bytes(24) + _folder_entry(b"\0")
    return _descriptor(1, (names + sizes + tables).ljust(881 - 7, b"\0") + b"\x01")


def _boot_record() -> bytes:
    return _descriptor(0, b"EL TORITO SPECIFICATION".ljust(64, b"\0") + _CATALOG.to_bytes(4, "little"))


def _catalog() -> bytes:
    head = b"\x01\0\0\0".ljust(28, b"\0")
    # The words of the entry sum up to 0.
    checksum = -sum(int.from_bytes(head[at : at + 2], "little") for at in range(0, 28, 2)) - 0xAA55
    validation = head + (checksum & 0xFFFF).to_bytes(2, "little") + b"\x55\xaa"
    entry = b"\x88\0\0\0\0\0" + (BLOCK // SECTOR).to_bytes(2, "little") + _BOOT.to_bytes(4, "little")
    return (validation + entry.ljust(32, b"\0")).ljust(BLOCK, b"\0")


def _root_folder() -> bytes:
    return (_folder_entry(b"\0") + _folder_entry(b"\x01")).ljust(BLOCK, b"\0")
