"""The clients of the torture: each asks for operations of all types at random, repeats itself, and aborts some.

A request is that of an example, or of what the example prepares or is undone by, on one of a few sets of names, so that
clients are in each other's way.
"""

from __future__ import annotations

import asyncio
import random
import re
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

from google.protobuf import text_format

from tests.acceptance.asking import ask
from tests.acceptance.site import Site
from tests.examples.contract import Example, load
from virtyard.api.jobs.v1 import job_service_pb2, operation_pb2
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

VARIANTS = 3
_OWN = re.compile(r"\b(web|more|data|lan|second|extra)(?=[\"\-./_])")
_PATIENCE = 120.0


@dataclass(kw_only=True)
class Tally:
    """What clients asked for, and what came of it."""

    accepted: dict[str, str] = field(default_factory=dict)
    """The request id of each operation that was acknowledged, by the operation's name."""
    by_type: Counter[str] = field(default_factory=Counter)
    """How many operations of each type were accepted."""
    ends: Counter[str] = field(default_factory=Counter)
    """How operations ended, as their clients heard."""
    refused: Counter[str] = field(default_factory=Counter)
    """Why requests were refused."""
    wrong: list[str] = field(default_factory=list)
    """What a client was told that cannot be."""


class Requests:
    """Requests at random, of every operation type."""

    def __init__(self, site: Site, rng: random.Random) -> None:
        """Make them from the examples."""
        self._site = site
        self._rng = rng
        # A proof of death that is asked for at random would be a wrong one, after which a machine may run twice.
        self._examples = [example for example in load().values() if not example.gone]

    def next(self) -> Any:
        """Return one."""
        example: Example = self._rng.choice(self._examples)
        made = [*example.prepare(self._site), example.request(self._site), example.request(self._site)]
        made += example.again(self._site) if example.again is not None else ()
        return varied(self._rng.choice(made), self._rng.randrange(VARIANTS))


def varied(request: Any, number: int) -> Any:
    """Return the request with the names of another set of objects."""
    text = _OWN.sub(rf"\g<1>{number}", text_format.MessageToString(request))
    return text_format.Parse(text, type(request)())


class TortureClient:
    """One client."""

    def __init__(self, site: Site, client: Client, rng: random.Random, tally: Tally) -> None:
        """Use a connection and a tally that are shared."""
        self._client = client
        self._rng = rng
        self._tally = tally
        self._requests = Requests(site, rng)

    async def run(self, stop: asyncio.Event) -> None:
        """Ask for one operation after another until told to stop."""
        while not stop.is_set():
            request = self._requests.next()
            request.request_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._one(request)
            except ClientError as error:
                self._tally.refused[error.reason or error.code] += 1
                if error.unreachable:
                    await asyncio.sleep(0.1)
            except TimeoutError:
                self._tally.ends["not heard of"] += 1

    async def _one(self, request: Any) -> None:
        operation = await self._submit(request)
        first = self._tally.accepted.setdefault(operation.name, request.request_id)
        if first != request.request_id:
            # A number that was given away before its commit is given away again, and hides that the first was lost.
            self._tally.wrong.append(f"{operation.name} was acknowledged for {first}, and for {request.request_id}")
        self._tally.by_type[type(request).__name__.removesuffix("Request")] += 1
        if self._rng.random() < 0.2 and (again := await self._submit(request)).name != operation.name:
            self._tally.wrong.append(f"{request.request_id} is {operation.name} and {again.name}")
        if self._rng.random() < 0.2:
            await asyncio.sleep(self._rng.random() * 0.5)
            await self._abort(operation.name)
        try:
            story = await self._client.wait(operation.name, timeout=_PATIENCE)
        except ClientError as error:
            self._check_known(operation.name, error)
            raise
        self._tally.ends[operation_pb2.OperationState.Name(cast(Any, story.state))] += 1

    async def _submit(self, request: Any) -> Any:
        """Submit until it is known what came of it; the request id makes that safe."""
        while True:
            try:
                return await ask(self._client, request)
            except ClientError as error:
                if not error.unreachable:
                    raise
                await asyncio.sleep(0.05)

    async def _abort(self, name: str) -> None:
        try:
            job = f"jobs/{name.partition('/')[2]}-1"
            await self._client.jobs.AbortJob(job_service_pb2.AbortJobRequest(name=job, reason="torture"))
        except ClientError as error:
            self._check_known(name, error)
            self._tally.refused[f"abort {error.reason or error.code}"] += 1

    def _check_known(self, name: str, error: ClientError) -> None:
        """Note where somebody does not know an operation that was acknowledged; nothing is forgotten so soon."""
        if error.reason == "NOT_FOUND":
            self._tally.wrong.append(f"{name} was acknowledged, and then was not known: {error}")
