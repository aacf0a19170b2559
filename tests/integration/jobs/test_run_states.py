"""Run states: what a definition has done is forgotten with it, whenever it is deleted."""

from __future__ import annotations

import pytest

from tests.integration.jobs.site import Site
from tests.integration.jobs.test_triggers import define, labelled, tell, wait_for
from virtyard.api.operations.v1 import delete_trigger_pb2
from virtyard.jobs.event_tail import EventTail


async def states(site: Site) -> int:
    """Return how many definitions have a state in the database."""
    rows = await site.jobs.database.read(lambda it: it.execute("SELECT count(*) FROM run_state").fetchone())
    return int(rows[0])


@pytest.mark.parametrize("unseen", [False, True])
async def test_what_a_definition_did_is_forgotten_with_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, unseen: bool
) -> None:
    """Also where its scheduler ends before it has looked at the event that tells of it; of others nothing is."""
    await define(site, labelled())
    await define(site, labelled("other"), trigger_id="other")
    await tell(site, "a")
    await wait_for(site, "runs", 1)
    await wait_for(site, "runs", 1, "triggers/other")
    assert await states(site) == 2

    async def deaf(*_: object) -> None:
        """Hear of nothing."""

    with monkeypatch.context() as patch:
        if unseen:
            patch.setattr(EventTail, "_deal_with", deaf)
        await site.succeed(delete_trigger_pb2.DeleteTriggerRequest(name="triggers/look"))
        if unseen:
            await site.close_jobs()
    if unseen:
        await site.open_jobs()

    async def one_left() -> bool:
        return await states(site) == 1

    await site.wait_until(one_left)
    await tell(site, "b")
    await wait_for(site, "runs", 2, "triggers/other")
