"""The repositories that are presented to a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtyard.agent.attachments import Attachments
from virtyard.agent.drivers.storage.contract import Place

PLACE = Place(path="/srv/r", uid="r1")
NAME = "repositories/r"
MARK, OTHER = "1/2/1", "9/1/1"


@pytest.fixture
def attachments(tmp_path: Path) -> Attachments:
    """The attachments of a host with one repository."""
    made = Attachments(tmp_path / "state" / "repositories.json")
    assert made.attach(PLACE, NAME, MARK)
    return made


def test_an_attachment_outlives_the_agent(attachments: Attachments, tmp_path: Path) -> None:
    """The next agent finds it with its mark, and what was given up with whose it was."""
    again = Attachments(tmp_path / "state" / "repositories.json")
    assert again.mark("r1") == MARK
    again.give_up("r1", OTHER)
    last = Attachments(tmp_path / "state" / "repositories.json")
    assert (last.mark("r1"), last.given_up_by("r1")) == (None, OTHER)


def test_what_is_attached_already_keeps_its_mark(attachments: Attachments) -> None:
    """So the undo of the second step lets nothing go that is not its own (P9)."""
    assert not attachments.attach(PLACE, NAME, OTHER)
    assert not attachments.forget("r1", OTHER)
    assert attachments.mark("r1") == MARK
    assert attachments.forget("r1", MARK)
    assert not attachments.forget("r1", MARK)


def test_what_a_step_gave_up_is_put_back_by_its_undo_alone(attachments: Attachments) -> None:
    """With the mark that it had before, and once."""
    assert attachments.give_up("r1", OTHER)
    assert not attachments.give_up("r1", OTHER)
    assert not attachments.put_back("r1", "7/7/7")
    assert attachments.put_back("r1", OTHER)
    assert attachments.mark("r1") == MARK
    assert not attachments.put_back("r1", OTHER)


def test_a_new_attachment_makes_an_old_giving_up_void(attachments: Attachments) -> None:
    """A late undo must not put back what was replaced meanwhile."""
    attachments.give_up("r1", OTHER)
    assert attachments.attach(PLACE, NAME, "10/1/1")
    assert not attachments.put_back("r1", OTHER)
    assert attachments.mark("r1") == "10/1/1"


def test_a_folder_is_one_repository(attachments: Attachments) -> None:
    """Another repository at the same path takes the place of the one that was there."""
    assert attachments.attach(Place(path=PLACE.path, uid="r2"), "repositories/new", OTHER)
    assert (attachments.mark("r1"), attachments.mark("r2")) == (None, OTHER)


def test_all_but_what_is_to_stay_is_given_up_at_once_and_put_back_by_its_step(attachments: Attachments) -> None:
    """Each with its own mark; what another step gave up stays given up."""
    for uid in ("r2", "r3", "r4"):
        attachments.attach(Place(path=f"/srv/{uid}", uid=uid), f"repositories/{uid}", f"2/1/{uid[1]}")
    attachments.give_up("r4", OTHER)
    assert attachments.give_up_others(["r2", "r9"], "10/1/1") == ["repositories/r", "repositories/r3"]
    assert attachments.give_up_others(["r2", "r9"], "11/1/1") == []
    assert attachments.all_given_up_by("10/1/1") == ["repositories/r", "repositories/r3"]
    assert [attachments.mark(uid) for uid in ("r1", "r2", "r3", "r4")] == [None, "2/1/2", None, None]
    assert attachments.put_all_back("11/1/1") == []
    assert attachments.put_all_back("10/1/1") == ["repositories/r", "repositories/r3"]
    assert [attachments.mark(uid) for uid in ("r1", "r2", "r3", "r4")] == [MARK, "2/1/2", "2/1/3", None]


def test_what_settled_operations_gave_up_is_forgotten(tmp_path: Path) -> None:
    """Nobody can undo them any more; what may still be undone is kept, so the file grows with open operations only."""
    below = 0
    attachments = Attachments(tmp_path / "repositories.json", lambda: below)
    for number in range(1, 4):
        attachments.attach(Place(path=f"/srv/{number}", uid=f"r{number}"), NAME, MARK)
        attachments.give_up(f"r{number}", f"{number}/1/1")
    below = 3
    attachments.attach(PLACE, NAME, MARK)
    attachments.give_up("r1", "9/1/1")
    assert [attachments.given_up_by(f"r{number}") for number in range(1, 4)] == ["9/1/1", None, "3/1/1"]
