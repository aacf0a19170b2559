"""A host whose agent is killed while it makes a bridge: `bridge_victim.py WHAT N`, in a network namespace.

WHAT is `create` or `trial`; the agent dies right after the Nth change that it asks of the kernel. `slow` is a trial
that only stands still there, and goes on once all is told. What the next agent finds and does is printed as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

from pyroute2 import IPRoute

from virtyard.agent.actions import create_bridge, remove_bridge
from virtyard.agent.actions.contract import Context
from virtyard.agent.drivers.network.bridge import BridgeNetwork
from virtyard.api.actions.v1 import create_bridge_pb2, remove_bridge_pb2

UPLINK = "eth1"
BRIDGE = "vy0123456789"
DO = create_bridge_pb2.CreateBridge(network="networks/n", uid="0123456789abcdef", bridge=BRIDGE, uplink=UPLINK)
UNDO = remove_bridge_pb2.RemoveBridge(network="networks/n", uid="0123456789abcdef", bridge=BRIDGE)


def links() -> dict[str, dict[str, Any]]:
    """The interfaces of the namespace, less its loopback and the far end of its uplink."""
    with IPRoute() as route:
        found = list(route.get_links())
    names = {link["index"]: link.get("ifname") for link in found}
    return {
        name: {
            "up": link["state"] == "up",
            "master": names.get(link.get("master"), ""),
            "alias": link.get("ifalias") or "",
        }
        for link in found
        if (name := names[link["index"]]) not in {"lo", f"{UPLINK}p"}
    }


def left_by(work: Callable[[], Coroutine[Any, Any, None]], changes: int, by: signal.Signals) -> int:
    """Do `work` in a process that is sent a signal after so many changes of interfaces; return the process."""
    child = os.fork()
    if child:
        return child
    left = changes

    def link(self: Any, command: str, **values: Any) -> Any:
        nonlocal left
        answer = self.__getattr__("link")(command, **values)
        left -= command in {"add", "set", "del"}
        if not left:
            os.kill(os.getpid(), by)
        return answer

    IPRoute.link = link
    code = 1
    try:
        asyncio.run(work())
        code = 0
    finally:
        os._exit(code)


def context(network: BridgeNetwork, *, undoing: bool = False) -> Context:
    """What the actions of one step are given."""
    host = cast(Any, SimpleNamespace(network=network))
    return Context(host=host, mark="12/1/1", undoing=undoing, progress=lambda *_: None)


async def create() -> None:
    """Make the bridge."""
    await create_bridge.do(DO, context(BridgeNetwork()))


async def trial() -> None:
    """Start an agent."""
    network = BridgeNetwork()
    await network.probe()
    assert not network.unsupported


async def survive() -> dict[str, Any]:
    """Start the next agent, which looks for the effect, does it once more, and undoes it."""
    network = BridgeNetwork()
    told: dict[str, Any] = {}
    try:
        await network.probe()
        told["unsupported"] = network.unsupported
        told["started"] = await asyncio.to_thread(links)
        told["found"] = await create_bridge.probe(DO, context(network)) is not None
        told["changed"] = (await create_bridge.do(DO, context(network))).changed
        told["done"] = await asyncio.to_thread(links)
        told["undone"] = (await remove_bridge.do(UNDO, context(network, undoing=True))).changed
        told["left"] = await asyncio.to_thread(links)
    finally:
        network.close()
    return told


def main(what: str, changes: int) -> None:
    """Kill an agent or let it stand still, and tell what the next one does."""
    with IPRoute() as route:
        route.link("add", ifname=UPLINK, kind="veth", peer=f"{UPLINK}p")
    by = signal.SIGSTOP if what == "slow" else signal.SIGKILL
    child = left_by(create if what == "create" else trial, changes, by)
    status = os.waitpid(child, os.WUNTRACED)[1]
    told = {"killed": os.WIFSIGNALED(status), "stopped": os.WIFSTOPPED(status), "dead": links()}
    told |= asyncio.run(survive())
    if os.WIFSTOPPED(status):
        os.kill(child, signal.SIGCONT)
        status = os.waitpid(child, 0)[1]
    end = {"failed": os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0, "end": links()}
    sys.stdout.write(json.dumps({**told, **end}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
