"""The context file: where the services of one Virtyard are, and with which credentials to dial them.

`up` and `serve` write it, agents and the command line read it. It names addresses and folders, never secrets::

    {"inventory": "127.0.0.1:7001", "jobs": ..., "locks": ..., "agents": {"s1": ...},
     "credentials": "admin", "authority": "ca", "domain": "virtyard.local"}
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from virtyard.kernel.errors import InvalidRequest, NotFound
from virtyard.runtime.folders import home_folder, is_usable

__all__ = ["CONTEXT_FILE", "SERVICES", "Context", "context_path"]

CONTEXT_FILE = "context.json"
SERVICES = ("inventory", "jobs", "locks", "gateway")
"""The services whose addresses stand in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What one needs to know in order to dial."""

    services: Mapping[str, str] = field(default_factory=dict)
    """host:port of each service, by its name."""
    agents: Mapping[str, str] = field(default_factory=dict)
    """host:port of each agent that runs on this machine, by its server's id."""
    credentials: str = ""
    """The folder with the credentials of people on this machine; relative to the file."""
    authority: str = ""
    """The folder of the authority, relative to the file; empty where it is not on this machine."""
    domain: str = ""
    """The trust domain."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """host:port at which each process shows its metrics, by its name; absent ones show none."""

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
        tables = ("agents", "metrics")
        if not isinstance(content, dict) or not all(isinstance(content.get(name, {}), dict) for name in tables):
            raise InvalidRequest(f"{path} is no context file", resource=str(path))
        return cls(
            services={name: str(content[name]) for name in SERVICES if name in content},
            agents={str(name): str(address) for name, address in content.get("agents", {}).items()},
            credentials=str(content.get("credentials", "")),
            authority=str(content.get("authority", "")),
            domain=str(content.get("domain", "")),
            metrics={str(name): str(address) for name, address in content.get("metrics", {}).items()},
        )

    def write(self, path: Path) -> None:
        """Write the context whole, so that a reader never sees a part."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content: dict[str, Any] = {
            **self.services,
            "agents": dict(sorted(self.agents.items())),
            "credentials": self.credentials,
            "authority": self.authority,
            "domain": self.domain,
            **({"metrics": dict(sorted(self.metrics.items()))} if self.metrics else {}),
        }
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        fresh.replace(path)

    def with_service(self, name: str, address: str) -> Context:
        """Return the context with the address of one more service."""
        return replace(self, services={**self.services, name: address})

    def with_agent(self, name: str, address: str) -> Context:
        """Return the context with the address of one more agent."""
        return replace(self, agents={**self.agents, name: address})

    def with_metrics(self, name: str, address: str) -> Context:
        """Return the context with where one process shows its metrics; with nothing of it if the address is empty."""
        others = {known: there for known, there in self.metrics.items() if known != name}
        return replace(self, metrics={**others, name: address} if address else others)

    def service(self, name: str) -> str:
        """Return the address of a service.

        Raises:
            NotFound: the context has none.
        """
        try:
            return self.services[name]
        except KeyError:
            known = ", ".join(sorted(self.services)) or "none"
            raise NotFound(f"the address of {name} is not known; known are: {known}", resource=name) from None


def context_path(environ: Mapping[str, str], *, user: int | None = None) -> Path:
    """Return where the context file is when nobody names one: VIRTYARD_CONTEXT, else in the configuration folder.

    Who has no home that can be written, as anybody may be in a container, has it among the temporary files. The client
    looks for it in the same places.

    Args:
        environ: XDG_CONFIG_HOME and HOME count; without them the home of the user's account.
        user: the user id; of this process if not given.
    """
    if environ.get("VIRTYARD_CONTEXT"):
        return Path(environ["VIRTYARD_CONTEXT"])
    user = os.getuid() if user is None else user
    home = home_folder(environ, "XDG_CONFIG_HOME", ".config")
    file = home / "virtyard" / CONTEXT_FILE if home is not None else None
    if file is not None and (file.exists() or is_usable(file.parent)):
        return file
    return Path(tempfile.gettempdir()) / f"virtyard-{user}" / "config" / CONTEXT_FILE
