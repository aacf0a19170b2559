"""The context: where the services of one site are, and who the caller is to them.

`virtyard up` and `virtyard serve` write it as a JSON file; its `credentials` is a folder with ca.pem, cert.pem and
key.pem.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SERVICES = ("inventory", "jobs", "locks", "gateway")


class ContextError(Exception):
    """There is no usable context; the message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Addresses and credentials of one site."""

    addresses: Mapping[str, str]
    """host:port by service: inventory, jobs, locks, gateway."""
    credentials: Path
    """The folder with ca.pem, cert.pem and key.pem of the caller."""
    source: str = ""
    """The file that it was read from; empty if it was made in a program."""

    @classmethod
    def load(cls, path: Path | str | None = None) -> Context:
        """Read a context file: the one given, else VIRTYARD_CONTEXT, else virtyard/context.json in the config folder.

        Raises:
            ContextError: the file is not there or not a context.
        """
        file = Path(path) if path else default_path()
        try:
            content = json.loads(file.read_bytes())
        except FileNotFoundError:
            raise ContextError(
                f"there is no context file {file}; `virtyard up` writes one, "
                "--context or VIRTYARD_CONTEXT names another"
            ) from None
        except (OSError, ValueError) as error:
            raise ContextError(f"the context file {file} cannot be read: {error}") from error
        credentials = _text(content, "credentials")
        if not credentials:
            raise ContextError(f"the context file {file} does not say where the credentials are")
        return cls(
            addresses={service: _text(content, service) for service in SERVICES if _text(content, service)},
            credentials=file.parent / credentials,
            source=str(file),
        )

    def address(self, service: str) -> str:
        """Where a service listens, as host:port.

        Raises:
            ContextError: the context does not say; in a split site the service may not have been started yet.
        """
        address = self.addresses.get(service)
        if address is None:
            place = f"the context file {self.source}" if self.source else "the context"
            raise ContextError(f"{place} does not say where {service} listens; has it been started?")
        return address


def _text(content: object, key: str) -> str:
    value = content.get(key) if isinstance(content, dict) else None
    return value if isinstance(value, str) else ""


def default_path() -> Path:
    """Where the context file is looked for when nobody names one: where `virtyard up` writes it.

    Raises:
        ContextError: the place for people without a home belongs to somebody else.
    """
    named = os.environ.get("VIRTYARD_CONTEXT")
    if named:
        return Path(named)
    file = _in_home()
    if file is not None and (file.exists() or _is_usable(file.parent)):
        return file
    shared = Path(tempfile.gettempdir(), f"virtyard-{os.getuid()}")
    if shared.exists() and shared.stat().st_uid != os.getuid():
        raise ContextError(f"{shared} belongs to somebody else; --context or VIRTYARD_CONTEXT names the context file")
    return shared / "config" / "context.json"


def _in_home() -> Path | None:
    """The context file in the configuration folder; None for who has no home, as anybody may be in a container."""
    for config in (os.environ.get("XDG_CONFIG_HOME"), "~/.config"):
        if config:
            with contextlib.suppress(RuntimeError):
                return Path(config).expanduser() / "virtyard" / "context.json"
    return None


def _is_usable(folder: Path) -> bool:
    """True if the folder can be written, or made in its nearest parent."""
    nearest = next((place for place in (folder, *folder.parents) if place.exists()), None)
    return nearest is not None and nearest.is_dir() and os.access(nearest, os.W_OK)
