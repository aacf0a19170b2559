"""A scheduler that is killed between a delivery and its mark: the receiver is sent it again, as the same (R3)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.acceptance.asking import LIMIT, run
from tests.acceptance.site import Site, open_site, until
from tests.examples.create_filter import request
from tests.faults.killing import ask_until_answered
from tests.integration.jobs.receiver import receiving
from virtyard.api.inventory.v1 import webhook_pb2
from virtyard.api.jobs.v1 import automation_service_pb2 as pb
from virtyard.api.operations.v1 import create_webhook_pb2
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

pytestmark = pytest.mark.timeout(180)

ENDS = "webhooks/ends"
AUTOMATION = "virtyard.api.jobs.v1.AutomationService"


class Killer:
    """Answers the receiver's first delivery by killing the process that makes it, before an answer is given."""

    def __init__(self, site: Site) -> None:
        """Kill the scheduler of this site."""
        self.site = site
        self.killed = False

    def __call__(self, event: Any) -> tuple[int, dict[str, str]]:
        """Take a delivery; the first is taken by nobody who could know of it."""
        if not self.killed:
            self.site.kill("jobs")
            self.killed = True
        return 204, {}


async def test_what_was_delivered_and_not_marked_is_delivered_again_under_one_id() -> None:
    """At least once: the same id, body and type, signed again and genuine; then it is marked, and nothing waits."""
    with open_site("split", (), nursed=True) as site, receiving() as receiver:
        killer = receiver.answer = Killer(site)
        async with site.client() as client:
            wanted = webhook_pb2.Webhook(url=receiver.url, content=webhook_pb2.WEBHOOK_CONTENT_OPERATIONS)
            await run(client, create_webhook_pb2.CreateWebhookRequest(webhook_id="ends", webhook=wanted))
            name = (await ask_until_answered(client, request())).name
            await asyncio.to_thread(until, lambda: killer.killed, LIMIT, "the scheduler is killed")
            await asyncio.to_thread(site.start, "jobs")
            await wait_delivered(client)
            first, second = receiver.events()
            assert first == second
            assert (first["type"], first["subject"]) == ("io.virtyard.operation.SUCCEEDED", name)
            asked = pb.GetWebhookSecretRequest(name=ENDS)
            secret = (await client.call(AUTOMATION, "GetWebhookSecret", asked, pb.WebhookSecret)).secret
            for headers, body in receiver.taken:
                _ = Webhook(secret).verify(body, dict(headers))
                assert headers["webhook-id"] == first["id"]


async def wait_delivered(client: Client) -> None:
    """Wait until the receiver has taken all that it is sent."""
    status = pb.WebhookStatus()
    async with asyncio.timeout(LIMIT):
        while (status.delivered, status.pending) != (1, 0):
            await asyncio.sleep(0.05)
            with contextlib.suppress(ClientError):  # it is just starting
                asked = pb.GetWebhookStatusRequest(name=ENDS)
                status = await client.call(AUTOMATION, "GetWebhookStatus", asked, pb.WebhookStatus)
