"""The demo when it does not run to its end: whatever it started is gone, whoever stops it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.asking import SUCCEEDED, new_disk
from tests.acceptance.other_clients import make_by_google, make_by_grpc_js, missing_for_grpc_js
from tests.acceptance.site import ROOT, until
from tools import demo_links, processes
from tools.demo_site import Site
from virtyard.api.inventory.v1 import virtual_machine_pb2, vnic_pb2
from virtyard.api.operations.v1 import create_virtual_machine_pb2

DEMO = [sys.executable, "-m", "tools.demo"]


@pytest.fixture
def place() -> Iterator[Path]:
    """A place for a demo of its own."""
    with tempfile.TemporaryDirectory(prefix="vyd-", dir="/tmp") as folder:
        yield Path(folder) / "site"


def environment(place: Path, driver: str = "sim", keep: str = "") -> dict[str, str]:
    """Return the environment of a demo, on simulated hosts if nothing else is said."""
    return {**os.environ, "VIRTYARD_DEMO": str(place), "DRIVER": driver, "KEEP": keep}


def needs_bridges() -> None:
    """Skip a test where the demo has no real network."""
    missing = [name for name in ("qemu-img", "qemu-system-x86_64") if shutil.which(name) is None]
    if why := ", ".join(missing) or demo_links.refusal():
        pytest.skip(f"no guests on real bridges here: {why}")


def wait_said(demo: subprocess.Popen[bytes], output: Path, words: str, seconds: float = 60) -> None:
    """Wait until the demo says these words; if it ends before, what it did say is the failure."""

    def said() -> bool:
        # The demo breaks lines where it likes.
        return words in " ".join(output.read_text().split())

    until(lambda: said() or demo.poll() is not None, seconds, f"the demo says {words!r}")
    assert said(), output.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(place: Path, number: signal.Signals) -> None:
    """Ctrl-C in the middle ends every process and removes the folder."""
    output = place.with_suffix(".out")
    with (
        output.open("w") as file,
        subprocess.Popen(DEMO, cwd=ROOT, env=environment(place), stdout=file, stderr=subprocess.STDOUT) as demo,
    ):
        wait_said(demo, output, "2. Create the clustered pool")
        started = processes.records(place / "processes")
        demo.send_signal(number)
        assert demo.wait(30) == 130, output.read_text()
    assert len(started) == 7
    assert not [record for record in started if processes.is_alive(record)]
    assert not list(processes.working_in(place))
    assert not place.exists()
    assert output.read_text().endswith("demo: interrupted; nothing is left running\n")


def test_a_killed_demo_is_cleaned_up_by_stop(place: Path) -> None:
    """After kill -9 the processes run on, known by their records, and --stop ends them."""
    output = place.with_suffix(".out")
    with output.open("w") as file, subprocess.Popen(DEMO, cwd=ROOT, env=environment(place), stdout=file) as demo:
        wait_said(demo, output, "1. Discover")
        started = processes.records(place / "processes")
        demo.kill()
        demo.wait(30)
    assert len([record for record in started if processes.is_alive(record)]) == 7
    stopped = subprocess.run([*DEMO, "--stop"], cwd=ROOT, env=environment(place), check=False)
    assert stopped.returncode == 0
    assert not [record for record in started if processes.is_alive(record)]
    assert not place.exists()


def test_an_unknown_driver_is_refused_with_those_that_there_are(place: Path) -> None:
    """A wrong DRIVER is named, and nothing is left of the demo."""
    refused = subprocess.run(
        DEMO,
        cwd=ROOT,
        env={**environment(place), "DRIVER": "xen"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert refused.stderr == "demo: DRIVER=xen is unknown; it is qemu, sim, or nothing for whatever works\n"
    assert not place.exists()


def test_a_driver_that_cannot_run_fails_the_demo(place: Path) -> None:
    """DRIVER=qemu where there is no QEMU is an error that says what is missing, never a demo on simulated hosts."""
    refused = subprocess.run(
        DEMO,
        cwd=ROOT,
        env={**environment(place, "qemu"), "PATH": str(place.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith("demo: DRIVER=qemu cannot run here: qemu-system-")
    assert refused.stderr.endswith(" and qemu-img not found\n")
    assert "SIMULATED" not in refused.stdout
    assert not place.exists()


@pytest.mark.qemu
@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_demo_that_ends_early_leaves_no_bridge_and_no_tap(place: Path, number: signal.Signals) -> None:
    """Interrupted while a machine runs on its network, or killed and then stopped: the kernel has neither any more."""
    needs_bridges()
    output = place.with_suffix(".out")
    with (
        output.open("w") as file,
        subprocess.Popen(DEMO, cwd=ROOT, env=environment(place, ""), stdout=file, stderr=subprocess.STDOUT) as demo,
    ):
        wait_said(demo, output, "which alone is plugged into the bridge", 180)
        (link,) = demo_links.links(Site(folder=place))
        (tap,) = link.ports
        demo.send_signal(number)
        demo.wait(60)
    if number == signal.SIGKILL:
        assert (demo_links.NETWORKS / tap).exists()
        stopped = subprocess.run([*DEMO, "--stop"], cwd=ROOT, env=environment(place), check=False)
        assert stopped.returncode == 0
    assert not (demo_links.NETWORKS / tap).exists()
    assert not (demo_links.NETWORKS / link.name).exists()
    assert not list(processes.working_in(place))
    assert not place.exists()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_kept_demo_serves_other_clients_until_it_is_stopped(place: Path, tmp_path: Path) -> None:
    """KEEP=1 leaves the site running, on real guests where they run, and google's client and grpc-js use it."""
    played = subprocess.run(
        DEMO, cwd=ROOT, env=environment(place, "", keep="1"), capture_output=True, text=True, timeout=240, check=False
    )
    assert played.returncode == 0, played.stdout[-2000:] + played.stderr
    assert f"export VIRTYARD_CONTEXT={place}/context.json" in played.stdout
    running = processes.records(place / "processes")
    assert len(running) == 7
    (link,) = re.findall(r"^  (http://127\.0\.0\.1:\d+/\?token=\S+)$", played.stdout, re.MULTILINE)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(link, timeout=20) as page:
        assert (page.status, page.url) == (200, link.partition("?")[0])
    assert all(map(processes.is_alive, running))

    again = subprocess.run(
        DEMO, cwd=ROOT, env=environment(place), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, check=False
    )
    assert again.returncode == 1
    assert b"end it with `make demo-stop`" in again.stderr
    assert all(map(processes.is_alive, running))

    address = json.loads((place / "context.json").read_text())["jobs"]
    admin = place / "pki" / "user" / "admin"
    machine, metadata = make_by_google(address, admin, new_machine(place, "google"))
    assert (machine.name, metadata.state) == ("virtualMachines/google", SUCCEEDED)
    if not missing_for_grpc_js():
        by_name = address.replace("127.0.0.1", "localhost")
        said = make_by_grpc_js(by_name, admin, new_machine(place, "node"), tmp_path)
        assert not said.get("error")
        assert len(said["jobs"]) == 5
        assert all(job.endswith(": JOB_STATE_COMPLETED") for job in said["jobs"])

    stopped = subprocess.run([*DEMO, "--stop"], cwd=ROOT, env=environment(place), check=False)
    assert stopped.returncode == 0
    assert not any(map(processes.is_alive, running))
    assert not list(processes.working_in(place))
    assert not place.exists()


def new_machine(place: Path, name: str) -> create_virtual_machine_pb2.CreateVirtualMachineRequest:
    """Return the request for a machine in the demo's pool."""
    boot = virtual_machine_pb2.BootSource(kernel_path=str(place / "shared" / "boot" / "vmlinuz"))
    machine = virtual_machine_pb2.VirtualMachine(
        server_pool="serverPools/Finance", memory_bytes=64 << 20, cpus=1, boot=boot
    )
    return create_virtual_machine_pb2.CreateVirtualMachineRequest(
        virtual_machine_id=name,
        virtual_machine=machine,
        disks=[new_disk(1)],
        vnics=[create_virtual_machine_pb2.NewVnic(network=vnic_pb2.VNIC_NETWORK_USER)],
    )
