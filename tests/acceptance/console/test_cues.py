"""What a scenario leaves behind when the test cannot do what it was asked to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.acceptance.asking import LIMIT
from tests.acceptance.console.chromium import require_browser, run_with_cues
from tests.acceptance.site import until

HERE = Path(__file__).parent
STOPS = f"""
import {{ whileStopped }} from "{HERE / "browser.mjs"}";
import {{ asked, have }} from "{HERE / "scenario.mjs"}";
await whileStopped([asked.pid], () => have("stopped"));
console.log(JSON.stringify({{ said: "done" }}));
"""


def wait_until(pid: int, *, stopped: bool) -> None:
    """Wait until the kernel shows a process as stopped or not: a signal takes effect in its own time."""
    state = Path(f"/proc/{pid}/stat")
    shown = "stopped" if stopped else "going on"
    until(lambda: (state.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T") is stopped, LIMIT, shown)


def test_a_process_that_a_scenario_stopped_goes_on_when_the_test_fails_meanwhile() -> None:
    """The scenario hears that it waits in vain, and is not killed before it has let go."""
    require_browser()
    with subprocess.Popen(["sleep", "600"]) as process:
        words = ["node", "--input-type=module", "-e", STOPS, "scenario", f'{{"pid": {process.pid}}}']

        def fail() -> None:
            wait_until(process.pid, stopped=True)
            raise LookupError("the services are gone")

        try:
            cues = {"stopped": lambda: wait_until(process.pid, stopped=True)}
            assert run_with_cues(words, cues) == {"said": "done"}
            wait_until(process.pid, stopped=False)
            with pytest.raises(LookupError):
                run_with_cues(words, {"stopped": fail})
            wait_until(process.pid, stopped=False)
        finally:
            process.kill()
