"""What QEMU writes down of a run, read when its process is gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from virtyard.agent.drivers.hypervisor.contract import GuestEnd
from virtyard.agent.drivers.hypervisor.qemu_account import begin_account, read_end

GREETING: dict[str, object] = {"QMP": {"version": {}}}
RESET = {"event": "RESET", "data": {"guest": True, "reason": "guest-reset"}}


def shutdown(reason: str) -> dict[str, object]:
    """Return the event of a shutdown, by the guest where the reason says so."""
    return {"event": "SHUTDOWN", "data": {"guest": reason.startswith("guest"), "reason": reason}}


def account(folder: Path, *said: object, cut: str = "") -> tuple[GuestEnd, str]:
    """Write an account and read how the run ended by it."""
    begin_account(folder)
    (folder / "account.out").write_text("".join(f"{json.dumps(each)}\n" for each in said) + cut)
    return read_end(folder)


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ([GREETING, shutdown("guest-shutdown")], GuestEnd.BY_GUEST),
        ([GREETING, RESET, shutdown("guest-shutdown"), {"event": "STOP"}], GuestEnd.BY_GUEST),
        ([GREETING, shutdown("guest-panic")], GuestEnd.CRASHED),
        ([GREETING, shutdown("host-signal")], GuestEnd.CRASHED),
        ([GREETING, shutdown("host-qmp-quit")], GuestEnd.CRASHED),
        ([GREETING], GuestEnd.CRASHED),
        ([GREETING, shutdown("guest-shutdown"), RESET], GuestEnd.CRASHED),
        ([GREETING, shutdown("guest-shutdown"), {"event": "RESUME"}], GuestEnd.CRASHED),
        ([], GuestEnd.UNKNOWN),
    ],
)
def test_the_last_event_of_its_life_says_how_it_ended(tmp_path: Path, said: list[object], end: GuestEnd) -> None:
    """A shutdown that was held and taken back by a reset is none; without any account nothing is said."""
    assert account(tmp_path, *said)[0] is end


def test_a_line_that_was_cut_off_and_a_long_account_are_read(tmp_path: Path) -> None:
    """Only the end of the file counts; what is no whole line there is passed over."""
    many = [{"event": "NIC_RX_FILTER_CHANGED", "data": {"path": "x" * 100}}] * 1000
    assert account(tmp_path, GREETING, *many, shutdown("guest-shutdown"), cut='{"event": "RES')[0] is GuestEnd.BY_GUEST
    assert account(tmp_path, GREETING, shutdown("guest-shutdown"), RESET, *many)[0] is GuestEnd.CRASHED


def test_a_guest_of_an_earlier_release_has_no_account(tmp_path: Path) -> None:
    """It was started without one, so nobody can tell."""
    assert read_end(tmp_path)[0] is GuestEnd.UNKNOWN


def test_a_new_run_begins_a_new_account(tmp_path: Path) -> None:
    """What the last run wrote says nothing of this one."""
    account(tmp_path, GREETING, shutdown("guest-shutdown"))
    begin_account(tmp_path)
    assert read_end(tmp_path)[0] is GuestEnd.UNKNOWN
