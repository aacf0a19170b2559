"""What scenarios of the console stand on: the console as it is built from the sources, and Chromium driven by Node."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.site import PROGRAM, ROOT, Site

WEB = ROOT / "clients" / "web"
BUILT = ROOT / "services" / "virtyard" / "gateway" / "console" / "index.html"
BROWSER = Path(__file__).with_name("browser.mjs")
LEAVE = 30
"""How long a scenario has to leave things as they were when a cue fails, in seconds: longer than it stops a process."""
SCREENS = ROOT / "build" / "screens"
"""Where scenarios leave pictures of what they saw."""


def require_browser() -> None:
    """Skip the test where no browser can be driven, and say why; where CI is set, that is a failure."""
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if not missing:
        asked = f"import {{ findChromium }} from '{BROWSER}'; process.exit(findChromium() ? 0 : 1)"
        words = ["node", "--input-type=module", "-e", asked]
        if not (WEB / "node_modules").exists():
            missing.append("the Node packages of clients/web (make console)")
        elif subprocess.run(words, capture_output=True, check=False).returncode:
            missing.append("Chromium (apt install chromium, or VIRTYARD_CHROMIUM=/path/to/it)")
    if missing:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"a browser cannot be driven without {' and '.join(missing)}")


def build_console() -> None:
    """Build the console if its sources are newer than what was built; several tests may ask at once."""
    require_browser()
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / "console.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sources = [WEB / "index.html", WEB / "vite.config.ts", *(WEB / "src").rglob("*"), *(WEB / "public").rglob("*")]
        newest = max(path.stat().st_mtime for path in sources if path.is_file())
        if not BUILT.exists() or BUILT.stat().st_mtime < newest:
            subprocess.run(["npm", "run", "--silent", "build"], cwd=WEB, check=True, timeout=300)


@contextmanager
def one_browser() -> Iterator[None]:
    """Let one browser run at a time: two at once make every wait of both longer than all of them one after another."""
    with (ROOT / "build" / "browser.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def play(script: str, site: Site, seconds: float, **told: Any) -> dict[str, Any]:
    """Run a scenario on a site, signed in as the administrator, and return what it found.

    Raises:
        AssertionError: the scenario failed; with what it said.
    """
    SCREENS.mkdir(parents=True, exist_ok=True)
    argument = json.dumps({"link": link_to(site), "shots": str(SCREENS), **told})
    words = ["node", str(Path(__file__).with_name(script)), argument]
    with one_browser():
        played = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False)
    assert played.returncode == 0, f"{script}: {played.stderr[-6000:]}"
    found: dict[str, Any] = json.loads(played.stdout.splitlines()[-1])
    return found


def play_with_cues(script: str, site: Site, cues: Mapping[str, Callable[[], None]], **told: Any) -> dict[str, Any]:
    """Run a scenario that asks for things to be done meanwhile, each by its word; return what it found."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    argument = json.dumps({"link": link_to(site), "shots": str(SCREENS), **told})
    words = ["node", str(Path(__file__).with_name(script)), argument]
    with one_browser():
        return run_with_cues(words, cues)


def run_with_cues(words: Sequence[str], cues: Mapping[str, Callable[[], None]]) -> dict[str, Any]:
    """Run a program that asks for things to be done by a line each, as `{"cue": "go"}`; return its first other line.

    Where one of them fails, the program reads the end of its input, and is waited for while it puts right what it did.

    Raises:
        AssertionError: the program ended without an answer.
    """
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for line in process.stdout:
                answer: dict[str, Any] = json.loads(line)
                if "cue" not in answer:
                    return answer
                cues[answer["cue"]]()
                process.stdin.write("\n")
                process.stdin.flush()
            raise AssertionError(f"{words[1]} ended with {process.wait(10)}; what it said is above")
        finally:
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(LEAVE)
            process.kill()


def assert_as_cheap(many: Mapping[str, float], few: Mapping[str, float]) -> None:
    """Assert that a page with much in it had to do no more for something than one with little, by `cost.mjs`.

    Long tasks are in the message alone: on a busy machine they tell of the others on it, and `make bench` has them.
    """
    assert many["added"] <= 1.5 * few["added"] + 50, (few, many)
    assert many["cpu"] <= 2 * few["cpu"] + 200, (few, many)


def link_to(site: Site) -> str:
    """Return a link that signs the administrator in, once."""
    environment = {**os.environ, "VIRTYARD_CONTEXT": str(site.context)}
    said = subprocess.run([PROGRAM, "console"], env=environment, capture_output=True, text=True, check=True).stdout
    found = re.search(r"http://\S+", said)
    assert found is not None, said
    return found[0]
