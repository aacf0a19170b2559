"""compose.yaml and the Dockerfile, checked without a container engine; acceptance tests run the command lines."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
KEYS: dict[str, type] = {
    "image": str,
    "build": str,
    "restart": str,
    "volumes": list,
    "depends_on": dict,
    "command": list,
    "profiles": list,
}
"""What this file uses of the Compose specification, with the type that it demands."""
ADDRESS = re.compile(r"([a-z][a-z0-9-]*):(\d+)")


def after(command: list[str], flag: str) -> str:
    """Return the word after a flag; empty if the flag is not there."""
    return command[command.index(flag) + 1] if flag in command else ""


def mounts(service: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Return the volume at each mount point, and whether it can be written."""
    found = {}
    for volume in service["volumes"]:
        name, place, *mode = volume.split(":")
        assert mode in ([], ["ro"]), volume
        found[place] = (name, not mode)
    return found


def test_the_file_has_the_shape_that_compose_demands() -> None:
    """Only known keys with values of their types; every service and volume that is named is there."""
    assert {key for key in COMPOSE if not key.startswith("x-")} == {"services", "volumes"}
    for name, service in SERVICES.items():
        assert {key: type(value) for key, value in service.items()} == {key: KEYS[key] for key in service}, name
        assert all(isinstance(word, str) for word in service["command"]), name
        assert service["restart"] in ("no", "always", "on-failure", "unless-stopped"), name
        for other, wanted in service.get("depends_on", {}).items():
            assert other in SERVICES, (name, other)
            assert wanted["condition"] in ("service_started", "service_healthy", "service_completed_successfully")
        assert {volume for volume, _ in mounts(service).values()} <= set(COMPOSE["volumes"]), name
    used = {volume for service in SERVICES.values() for volume, _ in mounts(service).values()}
    assert used == set(COMPOSE["volumes"])


def test_what_a_service_waits_for_ends_by_itself() -> None:
    """Nobody waits for the completion of a process that serves, and what completes is not started again."""
    for service in SERVICES.values():
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_completed_successfully":
                assert SERVICES[other]["command"][0] == "pki"
                assert SERVICES[other]["restart"] == "no"


def test_everybody_is_dialled_where_it_listens_and_by_a_name_of_its_certificate() -> None:
    """Each address names a service with the port that its own --listen has; agents' certificates carry their names."""
    listening = {name: after(service["command"], "--listen") for name, service in SERVICES.items()}
    for name, service in SERVICES.items():
        for word in service["command"]:
            if (address := ADDRESS.fullmatch(word)) is not None:
                assert listening[address[1]] == word, (name, word)
        if service["command"][0] == "agent":
            issued = SERVICES[f"{name}-certificate"]["command"]
            assert issued[:3] == ["pki", "issue", f"agent/{name}"]
            assert after(issued, "--host") == listening[name].partition(":")[0]
            assert after(issued, "--out") == after(service["command"], "--credentials")
            assert after(service["command"], "--name") == name
            assert f"{name}-certificate" in service["depends_on"]


def test_every_path_lies_on_a_volume_that_may_be_used_so() -> None:
    """Paths of command lines are on mounts, and what is written to is not mounted read-only."""
    for name, service in SERVICES.items():
        for flag in ("--state", "--pki", "--out", "--credentials", "--storage-root"):
            path = after(service["command"], flag)
            if not path:
                continue
            on = [place for place in mounts(service) if Path(path).is_relative_to(place)]
            assert on, (name, path)
            if flag in ("--state", "--out", "--storage-root"):
                assert mounts(service)[on[0]][1], (name, path)


def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, each with its words on one line."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


@pytest.mark.parametrize(
    ("architecture", "wanted"),
    [
        ("amd64", ["qemu-system-x86", "qemu-utils"]),
        ("arm64", ["qemu-system-arm", "qemu-utils"]),
        ("riscv64", ["qemu-utils"]),
    ],
)
def test_the_image_gets_the_emulator_of_its_own_architecture(
    tmp_path: Path, architecture: str, wanted: list[str]
) -> None:
    """The RUN line is run by a shell, with the machine's two programs replaced by ones that tell what was asked."""
    (line,) = [words for instruction, words in dockerfile() if instruction == "RUN" and "apt-get" in words]
    for name, script in (("dpkg", f"echo {architecture}"), ("apt-get", 'echo "$@"'), ("rm", ":")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    said = subprocess.run(
        ["/bin/sh", "-c", line], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    install = said.stdout.splitlines()[-1].split()
    assert install[0] == "install"
    assert [word for word in install[1:] if not word.startswith("-")] == wanted


def test_the_image_is_made_of_what_is_there() -> None:
    """Copied sources exist, installed extras are those of pyproject.toml, and the context lies on the site's volume."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for instruction, words in dockerfile():
        if instruction == "COPY" and "--from" not in words:
            assert all((ROOT / source).exists() for source in words.split()[:-1]), words
        if instruction == "RUN" and "pip install" in words:
            extras = re.search(r"\.\[([a-z,]+)\]", words)
            assert extras is not None
            assert set(extras[1].split(",")) <= set(project["optional-dependencies"])
        if instruction == "ENTRYPOINT":
            assert words == '["virtyard"]'
            assert "virtyard" in project["scripts"]
        if instruction == "ENV":
            name, _, path = words.partition("=")
            assert name == "VIRTYARD_CONTEXT"
            assert all(mounts(SERVICES[service]).get(str(Path(path).parent)) for service in ("jobs", "cli"))
