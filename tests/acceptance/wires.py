"""Servers as network namespaces: each has a cable to the machine itself, for its agent, and one to the other server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

UPLINK = "peer0"
"""The interface of each server that leads to the other one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """Two servers that are wired."""

    namespaces: dict[str, str]
    """The namespace of each server."""
    homes: dict[str, str]
    """The address of each server, and of the machine as `up`."""

    def links(self, server: str) -> list[str]:
        """Return the names of a server's interfaces."""
        listed = ip("-n", self.namespaces[server], "-o", "link", "show")
        return [line.split(": ")[1].partition("@")[0] for line in listed.splitlines()]


def ip(*words: str) -> str:
    """Run `ip` and return what it printed."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@contextmanager
def wired(servers: Sequence[str] = ("s1", "s2")) -> Iterator[Wired]:
    """Make two namespaces with their cables; nothing of them is left."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    tag = f"vy{os.getpid() % 100000}"
    names = {server: f"{tag}{server}" for server in servers}
    subnet = f"10.213.{os.getpid() % 250}"
    with ExitStack() as stack:
        try:
            for name in names.values():
                ip("netns", "add", name)
                stack.callback(ip, "netns", "del", name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not allowed here: {error.stderr.strip()}")
        ip("link", "add", tag, "type", "bridge")
        stack.callback(ip, "link", "del", tag)
        ip("address", "add", f"{subnet}.1/24", "dev", tag)
        ip("link", "set", tag, "up")
        homes = {"up": f"{subnet}.1"}
        for number, (server, name) in enumerate(names.items(), 2):
            homes[server] = f"{subnet}.{number}"
            ip("link", "add", f"{tag}v{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{tag}v{number}", "master", tag, "up")
            ip("-n", name, "address", "add", f"{homes[server]}/24", "dev", "eth0")
            for interface in ("lo", "eth0"):
                ip("-n", name, "link", "set", interface, "up")
        first, second = names.values()
        ip("-n", first, "link", "add", UPLINK, "type", "veth", "peer", "name", UPLINK, "netns", second)
        for name in names.values():
            ip("-n", name, "link", "set", UPLINK, "up")
        yield Wired(namespaces=names, homes=homes)
