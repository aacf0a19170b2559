"""The main job, end to end, on this machine: `python -m tools.demo`, or better `make demo`.

The control plane runs split into its processes, three agents stand for three servers, and everything is asked for by
the public command line. The exit code is 0 only if every claim was checked on real processes and files; whatever
happens, nothing is left behind, unless KEEP=1.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from tools import demo_links, demo_site, demo_story, guest, processes
from tools.demo_screen import WIDTH, Screen
from tools.demo_site import DemoError, Site


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, or end what an earlier one left running."""
    parser = argparse.ArgumentParser(prog="demo", description="Run the main job end to end on this machine.")
    parser.add_argument("--stop", action="store_true", help="end what KEEP=1 left running, and remove it")
    stop = parser.parse_args(arguments).stop
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        site = demo_site.find_site()
        with _alone(site):
            return _stop(site) if stop else _run(site)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; nothing is left running", file=sys.stderr)
        return 130


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


@contextlib.contextmanager
def _alone(site: Site) -> Iterator[None]:
    """Hold the lock of the demo's place, so that two demos of one user do not meet."""
    site.folder.parent.mkdir(parents=True, exist_ok=True)
    with site.folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"another demo runs in {site.folder}; wait for its end, or stop it with Ctrl-C") from None
        try:
            yield
        finally:
            site.folder.with_suffix(".lock").unlink(missing_ok=True)


def _stop(site: Site) -> int:
    shutil.rmtree(_logs(site), ignore_errors=True)
    if not site.folder.exists():
        print("demo: nothing is running")
        return 0
    _clean(site)
    print(f"demo: stopped; {site.folder} is removed")
    return 0


def _logs(site: Site) -> Path:
    """Return where the logs of a run that failed are kept with KEEP=1."""
    return Path(f"{site.folder}-logs")


def _clean(site: Site) -> None:
    remains = demo_site.remove(site, demo_links.remove)
    if remains:
        raise DemoError(f"these could not be removed: {', '.join(remains)}")


def _run(site: Site) -> int:
    if site.kept.exists():
        raise DemoError("a demo was left running with KEEP=1; end it with `make demo-stop`")
    _clean(site)
    keep = os.environ.get("KEEP", "") not in ("", "0")
    kept = False
    try:
        last_line = _play(site)
        if keep:
            site.kept.touch()
            kept = True
            _say_kept(site)
    except BaseException:
        if keep and not isinstance(sys.exc_info()[1], KeyboardInterrupt) and site.pids.exists():
            shutil.rmtree(_logs(site), ignore_errors=True)
            shutil.copytree(site.pids, _logs(site))
            print(f"demo: the logs are in {_logs(site)}", file=sys.stderr)
        raise
    finally:
        if not kept:
            # A second Ctrl-C must not stop the cleaning.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _clean(site)
    print(last_line)
    return 0


def _play(site: Site) -> str:
    """Set the stage, play, and return the last line."""
    began = time.monotonic()
    site.folder.mkdir(mode=0o700, parents=True)
    site.shared.mkdir()
    screen = Screen(site)
    print("Virtyard: the main job, end to end")
    driver, why, boot = _choose_driver(site)
    small = demo_site.mount_small(site, demo_story.SMALL)
    addresses = demo_site.start(site, driver, (site.shared,))
    print()
    screen.say(
        f"The control plane, {len(demo_site.SERVICES)} processes, and {len(demo_site.SERVERS)} agents as servers:"
    )
    _show_processes(site, addresses)
    cast = demo_story.Cast(
        site=site,
        screen=screen,
        addresses=addresses,
        boot=boot,
        nonce=secrets.token_hex(8),
        small_is_mounted=small,
    )
    used = demo_story.tell(cast)
    if driver == "qemu" and used != "qemu":
        raise DemoError(f"DRIVER=qemu was asked for, and the agents use {used}")
    observed = screen.list_objects("server")[0]["observed"]
    why = (why or str(observed.get("hypervisorReason", ""))).rstrip(".")
    console = demo_site.run(site, "console").partition("?")[0].strip()
    return _summary(screen, time.monotonic() - began, used, why, console)


def _choose_driver(site: Site) -> tuple[str, str, guest.Guest]:
    """Return the driver to ask the agents for, why where that is known already, and the guest to boot.

    Raises:
        DemoError: DRIVER=qemu, and this machine cannot.
    """
    wanted = os.environ.get("DRIVER", "") or "auto"
    if wanted not in ("auto", "qemu", "sim"):
        raise DemoError(f"DRIVER={wanted} is unknown; it is qemu, sim, or nothing for whatever works")
    if wanted == "sim":
        return "sim", "DRIVER=sim asked for it", _simulated_guest(site)
    try:
        made = _real_guest()
    except guest.GuestUnavailableError as error:
        if wanted == "qemu":
            raise DemoError(f"DRIVER=qemu cannot run here: {error}") from error
        return "sim", str(error), _simulated_guest(site)
    print(f"  guest      {made.release}, with busybox")
    # Kernels lie under a storage root, as every file does that an agent reads for a guest.
    site.boot.mkdir()
    kernel, initrd = (Path(shutil.copy(path, site.boot)) for path in (made.kernel, made.initrd))
    return wanted, "", replace(made, kernel=kernel, initrd=initrd)


def _real_guest() -> guest.Guest:
    """Return a guest that QEMU can boot.

    Raises:
        GuestUnavailableError: QEMU is missing, or there is no kernel for it.
    """
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(os.uname().machine, os.uname().machine)
    missing = [name for name in (f"qemu-system-{machine}", "qemu-img") if shutil.which(name) is None]
    if missing:
        raise guest.GuestUnavailableError(f"{' and '.join(missing)} not found")
    return guest.make_guest()


def _simulated_guest(site: Site) -> guest.Guest:
    """Return files that stand for a kernel: simulated hosts only look at where they lie."""
    site.boot.mkdir()
    kernel, initrd = site.boot / "vmlinuz", site.boot / "initrd.img"
    for path in (kernel, initrd):
        path.write_text("simulated hosts boot nothing\n")
    return guest.Guest(kernel=kernel, initrd=initrd, kernel_arguments="quiet", release="none")


def _show_processes(site: Site, addresses: dict[str, str]) -> None:
    for record in processes.records(site.pids):
        print(f"  {record.name:<10} process {record.pid:<7} {addresses[record.name]}", flush=True)


def _summary(screen: Screen, seconds: float, driver: str, why: str, console: str) -> str:
    print("\nSummary\n")
    for title, spent in screen.times:
        print(f"  {spent:5.1f} s  {title}")
    print(f"  {seconds:5.1f} s  in all, with the start of the processes\n")
    print(f"All {screen.checks} checks hold.")
    if os.environ.get("KEEP", "") in ("", "0"):
        print(f"The web console was at {console}; `make demo KEEP=1` leaves it running, with a link that opens it.")
    if driver != "qemu":
        return f"Ran on SIMULATED hosts, driver {driver}: {why}"
    return textwrap.fill(f"Ran real QEMU guests, driver qemu: {why}", WIDTH, break_on_hyphens=False)


def _say_kept(site: Site) -> None:
    print("\nThe site is left running. To go on:\n")
    print(f"  export VIRTYARD_CONTEXT={site.context}")
    print("  .venv/bin/virtyard server list")
    print("  make demo-stop")
    print("\nThe web console, which this opens once (`.venv/bin/virtyard console` makes another):\n")
    print(f"  {demo_site.run(site, 'console')}\n")


if __name__ == "__main__":
    sys.exit(main())
