"""The demo's story: a pool, a network, a machine that boots, and an abort and a failure that leave nothing.

Each claim is checked where it must be true: in the inventory, in the guest's own words, among processes and files.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import demo_links, demo_snapshot, demo_storage, guest, processes
from tools.demo_screen import Screen
from tools.demo_site import SERVERS, DemoError, Site

MIB = 1 << 20
MEMORY = 256 * MIB
DISKS = (64 * MIB, 96 * MIB)
SMALL = 96 * MIB
"""The really limited repository: room for one disk of 64 MiB, not for two."""
BOOT_SECONDS = 60.0
WAIT_SECONDS = 10.0
GROWN = 128 * MIB
"""The size that the second disk gets."""
CARRIER = "s2"
"""The one server that carries the network, as all servers are this machine: the machine must run there."""
SUCCEEDED, FAILED, CANCELLED = 0, 1, 3
"""The exit codes of the command line."""
LEAVING = ("vm", "virtual-disk", "vnic", "network", "lock")
"""The nouns of which nothing is left at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who plays: the site and what it is given."""

    site: Site
    screen: Screen
    addresses: dict[str, str]
    """The agents' addresses by server."""
    boot: guest.Guest
    """What machines boot; on simulated hosts its files only have to be there."""
    nonce: str
    """What the guest is told for this run, and must say again."""
    small_is_mounted: bool
    """True if the limited repository lies on a file system of its own, False if it has a capacity limit."""


def tell(cast: Cast) -> str:
    """Play all scenes and return the name of the driver that ran the machine."""
    screen = cast.screen
    with screen.scene("Discover three servers"):
        driver = _discover(cast)
    with screen.scene("Create the clustered pool Finance, a repository and a network"):
        _create_pool(cast)
        bridged = _create_network(cast, driver)
    with screen.scene("Create a virtual machine with two disks and a network card, and resize a disk"):
        _create_machine(cast, "bridged-network=lan,network=bridged" if bridged else "network=user")
        _resize(cast)
    with screen.scene("Start it, and hear what the guest says"):
        _start(cast, driver, bridged=bridged)
    with screen.scene("Rename it"):
        screen.command("vm", "rename", "web", "Web server")
        name = screen.read("vm", "get", "web")[0]["displayName"]
        screen.check(f"the machine is shown as {name!r}", name == "Web server")
    with screen.scene("Abort an operation while a disk is being written"):
        _abort(cast)
    with screen.scene("Fail after completed jobs: the second disk does not fit"):
        _fail(cast)
    with screen.scene("Kill and delete the machine"):
        _delete(cast, driver, bridged=bridged)
    return driver


def _discover(cast: Cast) -> str:
    screen = cast.screen
    for server in SERVERS:
        screen.command("server", "discover", server, "--agent-address", cast.addresses[server])
    servers = screen.list_objects("server")
    states = {item["name"]: item.get("state") for item in servers}
    wanted = {f"servers/{server}": "SERVER_STATE_ONLINE" for server in SERVERS}
    screen.check("the inventory has three servers, all of them online", states == wanted, str(states))
    drivers = {item["observed"]["hypervisor"] for item in servers}
    screen.check(f"their agents chose the same driver: {', '.join(sorted(drivers))}", len(drivers) == 1)
    return str(drivers.pop())


def _create_pool(cast: Cast) -> None:
    screen, site = cast.screen, cast.site
    heartbeat = site.shared / "heartbeat"
    members = [word for server in SERVERS for word in ("--server", server)]
    # Timeout 1 s, so that a member renews its slot every 2 s and the demo need not wait for the usual 20 s.
    device = ("--heartbeat-device-path", str(heartbeat), "--heartbeat-device-io-timeout", "1s")
    screen.command("server-pool", "create", "Finance", *members, "--clustered", *device)
    (pool,), servers, operations = screen.read_all(["server-pool list", "server list", "operation list --limit 1"])
    names = sorted(pool["servers"])
    screen.check(f"the pool lists {', '.join(names)}", names == [f"servers/{server}" for server in SERVERS])
    pools = {item.get("serverPool") for item in servers}
    screen.check("each server names the pool", pools == {pool["name"]}, str(pools))
    titles = [job["title"] for job in _jobs_of(screen, operations[0]["name"]) if not job.get("parentJob")]
    told = ["Create Server Pool", "Create Cluster Heartbeat Device", "Create Cluster"]
    screen.check(f"the jobs were {', '.join(told)}", titles == told, str(titles))
    seen = heartbeat.read_bytes()
    _wait("a heartbeat", lambda: heartbeat.read_bytes() != seen)
    screen.check("the heartbeat device on the shared folder changes: the members are beating", True)
    screen.command("repository", "create", "shared", "--server-pool", "Finance", "--path", str(site.shared / "disks"))
    screen.check("the repository's folder is there", (site.shared / "disks").is_dir())


def _create_network(cast: Cast, driver: str) -> bool:
    """Create the network where it can be carried, and return whether it could; say why where it cannot."""
    screen = cast.screen
    why = demo_links.refusal() if driver == "qemu" else ""
    if why:
        screen.say(f"   No network: this machine or this user cannot carry one: {why}. The card gets QEMU's own.")
        return False
    screen.command("network", "create", "lan", "--server", CARRIER)
    (network,) = screen.list_objects("network")
    if driver == "qemu":
        found = [(link.name, link.uid, link.ports) for link in demo_links.links(cast.site)]
        fact = f"the kernel has the bridge {network['bridge']}, with nothing plugged into it"
        screen.check(fact, found == [(network["bridge"], network["uid"], ())], str(found))
    else:
        carried = _simulated_bridges(cast.site)
        fact = f"the simulated host {CARRIER} carries it as {network['bridge']}, and no other host does"
        screen.check(fact, carried == {CARRIER: {network["bridge"]: network["uid"]}}, str(carried))
    return True


def _create_machine(cast: Cast, card: str) -> None:
    screen = cast.screen
    disks = [word for size in DISKS for word in ("--disk", f"repository=shared,size={size // MIB}M")]
    arguments = f"{cast.boot.kernel_arguments} virtyard.nonce={cast.nonce}"
    words = _create("web", MEMORY, cast.boot)
    screen.command(*words, "--kernel-arguments", arguments, *disks, "--vnic", card)
    made, operations = screen.read_all(["virtual-disk list", "operation list --limit 1"])
    titles = [job["title"] for job in _jobs_of(screen, operations[0]["name"])]
    disk = ["Create Virtual Disk", "Add Virtual Disk to Virtual Machine"]
    told = ["Create Virtual Machine", "Add Virtual Machine to Server Pool", *disk, *disk]
    told.append("Create VNIC on Virtual Machine")
    screen.check(f"the operation was split into its {len(told)} jobs, in their order", titles == told, str(titles))
    images = sorted(image.name for image in demo_storage.images(cast.site.shared / "disks"))
    uids = sorted(item["uid"] for item in made)
    screen.check("each disk has one image in the repository", [name.rpartition(".")[0] for name in images] == uids)


def _resize(cast: Cast) -> None:
    """Make the second disk larger, and see its image grow; the guest's own word on it comes when it starts."""
    screen = cast.screen
    screen.command("virtual-disk", "resize", "web-disk1", "--size", f"{GROWN // MIB}M")
    disks = {item["name"].rpartition("/")[2]: item for item in screen.list_objects("virtual-disk")}
    wanted = {"web-disk0": DISKS[0], "web-disk1": GROWN}
    sizes = {name: int(item["sizeBytes"]) for name, item in disks.items()}
    screen.check(
        f"the inventory says {GROWN // MIB} MiB of it, and the other is as it was", sizes == wanted, str(sizes)
    )
    images = {image.stem: image for image in demo_storage.images(cast.site.shared / "disks")}
    shown = {name: demo_storage.virtual_size(images[item["uid"]]) for name, item in disks.items()}
    screen.check("the images have these sizes, too", shown == wanted, str(shown))


def _start(cast: Cast, driver: str, *, bridged: bool) -> None:
    screen = cast.screen
    screen.command("vm", "start", "web")
    found, cards, *rest = screen.read_all(["vm list", "vnic list", "virtual-disk list", "network list"])
    machine, disks = found[0], sorted(rest[0], key=lambda item: int(item.get("position", 0)))
    told = f"it runs on {machine['server']}" + (", the one server that carries its network" if bridged else "")
    placed = not bridged or machine["server"] == f"servers/{CARRIER}"
    screen.check(told, machine["state"] == "VIRTUAL_MACHINE_STATE_RUNNING" and placed)
    serials = [(item["serial"], int(item["sizeBytes"])) for item in disks]
    macs = [item["macAddress"] for item in cards]
    if driver != "qemu":
        _check_simulated(cast, machine, serials, macs, rest[1][0]["bridge"])
        return
    running = [record for record, _ in processes.working_in(cast.site.folder) if record.name.startswith("qemu-system")]
    pid = int(machine["placement"]["processId"])
    screen.check(f"process {pid} is its QEMU, and the only one", [record.pid for record in running] == [pid])
    if bridged:
        taps = demo_links.taps_of(pid)
        ports = [list(link.ports) for link in demo_links.links(cast.site)]
        fact = f"it has the tap {', '.join(taps)} open, which alone is plugged into the bridge"
        screen.check(fact, len(taps) == 1 and ports == [taps], f"{taps} {ports}")
    _hear(cast, machine, serials, macs)


def _hear(cast: Cast, machine: dict[str, Any], serials: list[tuple[str, int]], macs: list[str]) -> None:
    """Compare what the guest itself says on its console with the inventory."""
    screen = cast.screen
    console = Path(machine["placement"]["serialLogPath"])
    _wait(
        "the guest's report", lambda: guest.parse_report(console.read_text(errors="replace")) is not None, BOOT_SECONDS
    )
    report = guest.parse_report(console.read_text(errors="replace"))
    assert report is not None
    screen.check(f"the guest says the nonce of this run, {report.nonce}", report.nonce == cast.nonce)
    memory = int(machine["memoryBytes"])
    fits = 0.7 * memory <= report.memory_kib * 1024 <= memory
    screen.check(
        f"it manages {report.memory_kib // 1024} MiB of the {memory // MIB} MiB that the inventory gives it", fits
    )
    screen.check(
        f"it sees {report.cpus} processor, as in the inventory", report.cpus == machine["cpus"], str(machine["cpus"])
    )
    told = ", ".join(f"{serial} ({size // MIB} MiB)" for serial, size in report.disks)
    screen.check(f"its disks are those of the inventory: {told}", list(report.disks) == serials, str(serials))
    screen.check("the second one has its new size in the guest, too", report.disks[1][1] == GROWN)
    screen.check(f"its network card is {', '.join(report.nics)}", list(report.nics) == macs, str(macs))


def _check_simulated(
    cast: Cast, machine: dict[str, Any], serials: list[tuple[str, int]], macs: list[str], bridge: str
) -> None:
    """Compare the simulated guest's file on its host with the inventory: the same facts, without a console."""
    screen = cast.screen
    found = list(cast.site.folder.glob("state/s*/**/guests/*.json"))
    screen.check("one simulated host has its file, and no other", len(found) == 1, str(found))
    spec = json.loads(found[0].read_text())["guest"]["spec"]
    screen.check(
        "it lies on the server that the inventory names", machine["server"].rpartition("/")[2] in found[0].parts
    )
    screen.check(
        f"it has {MEMORY // MIB} MiB, as in the inventory", spec["memory_bytes"] == int(machine["memoryBytes"])
    )
    screen.check(
        "its disks have the serials of the inventory",
        [item["serial"] for item in spec["disks"]] == [serial for serial, _ in serials],
    )
    cards = [(item["mac"], item["bridge"]) for item in spec["nics"]]
    screen.check("its network card is that of the inventory, on its bridge", cards == [(mac, bridge) for mac in macs])


def _abort(cast: Cast) -> None:
    screen, site = cast.screen, cast.site
    before = demo_snapshot.take(site, screen.read_all)
    size = demo_storage.choose_size(site.shared)
    for attempt in range(4):
        disk = f"repository=shared,size={size // MIB}M,allocation=full"
        words = _create(f"big{attempt or ''}", 64 * MIB, cast.boot)
        operation = screen.submit(*words, "--disk", disk)
        percent = _wait_percent(screen.frames(operation))
        if percent is not None and percent < 90:
            screen.check(f"the job is RUNNING, and the agent has written {percent:.0f} % of the disk", percent >= 10)
            abort = ("operation", "abort", operation.rpartition("/")[2], "--wait")
            if screen.command_ending(abort, (CANCELLED, SUCCEEDED)) == CANCELLED:
                break
        # The disk was written before it could be stopped: this storage is faster than it was when measured.
        screen.say("   The disk was written before it could be stopped; once more, with a larger one.")
        screen.read("operation", "wait", operation)
        screen.command("vm", "delete", words[2])
        size = min(size * 3, demo_storage.room(site.shared))
    else:
        raise DemoError("the storage is too fast: no disk could be caught while it was written")
    jobs = {job["title"]: job["state"] for job in _jobs_of(screen, operation)}
    screen.check(
        "the operation is CANCELLED, its jobs are ABORTED", set(jobs.values()) == {"JOB_STATE_ABORTED"}, str(jobs)
    )
    _check_same(cast, before)


def _fail(cast: Cast) -> None:
    screen, site = cast.screen, cast.site
    path = site.small / "disks" if cast.small_is_mounted else site.shared / "limited"
    limit = () if cast.small_is_mounted else ("--capacity", f"{SMALL // MIB}M")
    screen.command("repository", "create", "small", "--server-pool", "Finance", "--path", str(path), *limit)
    screen.say(
        f"   {'a file system' if cast.small_is_mounted else 'a capacity'} of {SMALL // MIB} MiB, "
        "and two disks of 64 MiB that are written in full:"
    )
    before = demo_snapshot.take(site, screen.read_all)
    disk = ("--disk", "repository=small,size=64M,allocation=full")
    screen.command_ending((*_create("tight", 64 * MIB, cast.boot), *disk, *disk, "--vnic", "network=user"), (FAILED,))
    operation = _last_operation(screen)
    jobs = _jobs_of(screen, operation)
    failed = [job for job in jobs if job["state"] == "JOB_STATE_FAILED"]
    undone = [job for job in jobs if job["state"] == "JOB_STATE_ABORTED" and "startTime" in job]
    screen.check(
        "the job Create Virtual Disk of the second disk failed",
        [job["object"] for job in failed] == ["virtualDisks/tight-disk1"],
        str([(job["title"], job["object"], job["state"]) for job in jobs]),
    )
    screen.check(f"{len(undone)} completed jobs before it were undone", len(undone) >= 2)
    _check_same(cast, before)
    screen.command("repository", "delete", "small")


def _delete(cast: Cast, driver: str, *, bridged: bool) -> None:
    screen, site = cast.screen, cast.site
    screen.command("vm", "kill", "web")
    running = [record.name for record, _ in processes.working_in(site.folder) if record.name.startswith("qemu")]
    if driver == "qemu":
        screen.check("its QEMU is gone", not running, str(running))
    if driver == "qemu" and bridged:
        ports = [link.ports for link in demo_links.links(site)]
        screen.check("its tap is gone, the bridge is there", ports == [()], str(ports))
    screen.command("vm", "delete", "web")
    screen.check("its images are gone", not list(demo_storage.images(site.shared / "disks")))
    if bridged:
        screen.command("network", "delete", "lan")
        left = demo_links.links(site) or any(_simulated_bridges(site).values())
        screen.check("its bridge is gone", not left, str(left))
    objects = [item for found in screen.read_all([f"{noun} list" for noun in LEAVING]) for item in found]
    screen.check("no machine, disk, network card, network or lock is left", not objects, str(objects))


def _create(name: str, memory_bytes: int, boot: guest.Guest) -> tuple[str, ...]:
    """Return the command that creates a machine, as far as its disks."""
    size = ("--memory", f"{memory_bytes // MIB}M", "--cpus", "1")
    return (
        *("vm", "create", name, "--server-pool", "Finance", *size),
        *("--kernel", str(boot.kernel), "--initrd", str(boot.initrd)),
    )


# --- small parts -----------------------------------------------------------------------------------------------------


def _last_operation(screen: Screen) -> str:
    return str(screen.read("operation", "list", "--limit", "1")[0]["name"])


def _jobs_of(screen: Screen, operation: str) -> list[dict[str, Any]]:
    """Return an operation's jobs in the order of its plan."""
    jobs = screen.read("job", "list", "--filter", f'operation = "{operation}"')
    return sorted(jobs, key=lambda job: int(job["name"].rpartition("-")[2]))


def _simulated_bridges(site: Site) -> dict[str, dict[str, str]]:
    """Return the bridges of the simulated hosts: by server, the uid of the network that each of them carries."""
    found: dict[str, dict[str, str]] = {}
    for path in (site.folder / "state").glob("s*/sim/bridges/*.json"):
        found.setdefault(path.parents[2].name, {})[path.stem] = json.loads(path.read_text())["uid"]
    return found


def _check_same(cast: Cast, before: demo_snapshot.Snapshot) -> None:
    """Check that the site is as it was; the release of locks follows the end of an operation at once, not before it."""
    screen = cast.screen
    deadline = time.monotonic() + WAIT_SECONDS
    while (after := demo_snapshot.take(cast.site, screen.read_all)).locks and time.monotonic() < deadline:
        continue  # each look takes its time
    changes = demo_snapshot.differences(before, after)
    counts = f"{len(before.find)} files, {len(before.ps)} processes, {len(before.objects)} objects"
    screen.check(f"find, ps, bridges, objects and locks are as before ({counts})", not changes, "\n  ".join(changes))


def _wait_percent(frames: Iterator[dict[str, Any]]) -> float | None:
    """Return how far a running job's step on a host is, once past 10 per cent; None if the operation ends first."""
    for frame in frames:
        job = frame.get("job", {})
        for step in job.get("steps", ()) if job.get("state") == "JOB_STATE_RUNNING" else ():
            percent = float(step.get("progress", {}).get("percent", 0))
            if step["participant"] != "inventory" and step["state"] == "STEP_STATE_STARTED" and percent >= 10:
                return percent
    return None


def _wait(what: str, holds: Any, seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise DemoError(f"{what} did not come in {seconds:.0f} s")
        time.sleep(0.05)


__all__: Sequence[str] = ("Cast", "tell")
