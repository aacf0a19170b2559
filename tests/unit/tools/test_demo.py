"""The demo's small parts: how it shows commands, and how it compares a site with what it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tools import demo_site
from tools.demo_screen import WIDTH, wrapped
from tools.demo_snapshot import NOUNS, Snapshot, differences

BEFORE = Snapshot(
    find=("disks/", "disks/a.qcow2 4096"), ps=("7 virtyard serve jobs",), links=(), objects=("{}",), locks=()
)


def test_a_short_command_stays_on_its_line() -> None:
    """A command that fits is shown as it is typed."""
    assert wrapped(("vm", "rename", "web", "Web server")) == "$ virtyard vm rename web 'Web server'"


def test_a_long_command_is_broken_before_flags_and_keeps_flag_and_value_together() -> None:
    """Every line fits, all but the last one end with a backslash, and a flag begins each further line."""
    disks = [word for size in (64, 96, 128) for word in ("--disk", f"repository=shared,size={size}M")]
    lines = wrapped(("vm", "create", "web", "--server-pool", "Finance", *disks, "--no-wait")).splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert all(line.lstrip().startswith("--") for line in lines[1:])
    assert " ".join(line.rstrip(" \\").strip() for line in lines).count("--disk repository=") == 3


def test_what_is_the_same_has_no_differences() -> None:
    """A snapshot does not differ from itself."""
    assert differences(BEFORE, BEFORE) == []


def test_a_difference_names_its_part_and_its_line() -> None:
    """A file that is left, a process that is gone and a lock that is held are each told."""
    after = replace(BEFORE, find=(*BEFORE.find, "disks/b.qcow2 1"), ps=(), locks=("servers/s1",))
    assert differences(BEFORE, after) == [
        "find: new: disks/b.qcow2 1",
        "ps: gone: 7 virtyard serve jobs",
        "locks: new: servers/s1",
    ]


def test_the_snapshot_lists_every_kind_of_object() -> None:
    """Networks too; a kind that is added later is looked at without anybody's help."""
    assert {"server", "virtual-machine", "virtual-disk", "vnic", "network", "heartbeat-device"} <= set(NOUNS)


@pytest.mark.parametrize(
    ("script", "wanted"), [('exec "$@"', ["sudo", "-n"]), ("exit 1", None), (None, None)], ids=["may", "asks", "none"]
)
def test_sudo_is_used_only_where_it_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, wanted: list[str] | None
) -> None:
    """An ordinary user mounts by sudo -n where that is allowed without a password, and does without elsewhere."""
    if script is not None:
        sudo = tmp_path / "sudo"
        sudo.write_text(f'#!/bin/sh\n[ "$1" = -n ] || exit 9\nshift\n{script}\n')
        sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin" if script is not None else str(tmp_path))
    monkeypatch.setattr("os.getuid", lambda: 1000)
    assert demo_site.as_root() == wanted
