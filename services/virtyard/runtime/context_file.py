"""The context file: where the services of one Virtyard are, and with which credentials to dial them.

`up` and `serve` write it, agents and the command line read it. It names addresses and folders, never secrets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from virtyard.kernel.errors import InvalidRequest, NotFound

__all__ = ["CONTEXT_FILE", "Context"]

CONTEXT_FILE = "context.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What one needs to know in order to dial."""

    addresses: Mapping[str, str] = field(default_factory=dict)
    """From identity (`service/jobs`, `agent/s1`) to address (`127.0.0.1:7001`)."""
    credentials: str = ""
    """The folder with the credentials of people on this machine; relative to the file."""
    authority: str = ""
    """The folder of the authority; empty where it is not on this machine."""
    domain: str = ""
    """The trust domain."""

    @classmethod
    def read(cls, path: Path) -> Context:
        """Read a context.

        Raises:
            NotFound: there is no such file.
            InvalidRequest: it is no context.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise NotFound(f"{path} does not exist: is Virtyard running?", resource=str(path)) from error
        except ValueError as error:
            raise InvalidRequest(f"{path} is no context file: {error}", resource=str(path)) from error
        return cls(**_checked(path, content))

    def write(self, path: Path) -> None:
        """Write the context whole, so that a reader never sees a part."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = {
            "addresses": dict(sorted(self.addresses.items())),
            "credentials": self.credentials,
            "authority": self.authority,
            "domain": self.domain,
        }
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        fresh.replace(path)

    def with_address(self, identity: str, address: str) -> Context:
        """Return the context with one more address."""
        return replace(self, addresses={**self.addresses, identity: address})

    def address(self, identity: str) -> str:
        """Return the address of an identity.

        Raises:
            NotFound: the context has none.
        """
        try:
            return self.addresses[identity]
        except KeyError:
            known = ", ".join(sorted(self.addresses)) or "none"
            raise NotFound(f"the address of {identity} is not known; known are: {known}", resource=identity) from None


def _checked(path: Path, content: Any) -> dict[str, Any]:
    texts = ("credentials", "authority", "domain")
    if not isinstance(content, dict) or not isinstance(content.get("addresses", {}), dict):
        raise InvalidRequest(f"{path} is no context file", resource=str(path))
    return {"addresses": content.get("addresses", {}), **{name: str(content.get(name, "")) for name in texts}}
