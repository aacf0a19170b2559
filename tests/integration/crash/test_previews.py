"""The look at what a preview leaves can fail; it is taken for every operation type in `test_abort_points.py`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.integration.crash.previews import check_preview
from tests.integration.crash.stage import EXAMPLES, Stage, opened
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.runtime.database import Transaction


def _raise_a_number(transaction: Transaction) -> None:
    transaction.execute("UPDATE object SET generation = generation + 1 WHERE name = 'serverPools/pool'")
    transaction.transition("inventory.I")


async def _write_a_row(stage: Stage) -> None:
    await stage.site.inventory.database.write(_raise_a_number)


async def _write_a_file(stage: Stage) -> None:
    (stage.site.share / "shared" / ".virtyard-repository.json").touch()


PLANTED: list[tuple[Callable[[Stage], Awaitable[None]], str]] = [
    (_write_a_row, "state/inventory.db"),
    (_write_a_file, "share/shared/.virtyard-repository.json"),
]


async def test_a_preview_that_writes_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number in one row, and a file that was only touched: each is named by its path."""
    async with opened(tmp_path, EXAMPLES["create_virtual_disk"]) as stage:
        await check_preview(stage)
        plan = stage.plan
        for plant, path in PLANTED:

            async def writing(plant: Callable[[Stage], Awaitable[None]] = plant) -> plan_pb2.Plan:
                await plant(stage)
                return await plan()

            with monkeypatch.context() as patch:
                patch.setattr(stage, "plan", writing)
                with pytest.raises(AssertionError, match=re.escape(path)):
                    await check_preview(stage)
