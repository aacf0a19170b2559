"""The client: typed stubs for every public service over mutual TLS, waiting for operations, and watches that go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.message import Message

from virtyard.api.inventory.v1 import (
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    upload_service_pb2,
    upload_service_pb2_grpc,
)
from virtyard.api.jobs.v1 import job_service_pb2, job_service_pb2_grpc
from virtyard.api.locks.v1 import lock_service_pb2, lock_service_pb2_grpc
from virtyard.api.operations.v1 import operation_service_pb2_grpc
from virtyard.api.type.v1 import watch_pb2
from virtyard_client.channel import load_credentials, open_channel
from virtyard_client.context import Context
from virtyard_client.errors import ClientError
from virtyard_client.file_parts import FileParts
from virtyard_client.story import Change, Story
from virtyard_client.watch import Patience, Watch

__all__ = ["Client"]


class Client:
    """One site. Every rpc of every stub raises `ClientError`; make it with `connect` inside a running event loop."""

    def __init__(self, context: Context, patience: Patience | None = None) -> None:
        self._context = context
        self._credentials = load_credentials(context.credentials)
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._patience = patience or Patience()

    @cached_property
    def inventory(self) -> inventory_service_pb2_grpc.InventoryServiceStub:
        """Reads and watches objects and events."""
        return inventory_service_pb2_grpc.InventoryServiceStub(self._open("inventory"))

    @cached_property
    def jobs(self) -> job_service_pb2_grpc.JobServiceStub:
        """Reads, watches and steers jobs."""
        return job_service_pb2_grpc.JobServiceStub(self._open("jobs"))

    @cached_property
    def operations(self) -> operation_service_pb2_grpc.OperationServiceStub:
        """Asks for every change."""
        return operation_service_pb2_grpc.OperationServiceStub(self._open("jobs"))

    @cached_property
    def locks(self) -> lock_service_pb2_grpc.LockServiceStub:
        """Shows locks."""
        return lock_service_pb2_grpc.LockServiceStub(self._open("locks"))

    @cached_property
    def uploads(self) -> upload_service_pb2_grpc.UploadServiceStub:
        """Takes the bytes of images that are to be imported; `upload` sends a whole file."""
        return upload_service_pb2_grpc.UploadServiceStub(self._open("inventory"))

    @cached_property
    def longrunning(self) -> Any:
        """google.longrunning.Operations: get, list, wait and cancel."""
        stub: Any = operations_pb2_grpc.OperationsStub
        return stub(self._open("jobs"))

    def _open(self, service: str) -> grpc.aio.Channel:
        """The channel to a process; a context that does not know it is refused here, not earlier."""
        channel = self._channels.get(service)
        if channel is None:
            address = self._context.address(service)
            channel = self._channels[service] = open_channel(address, service, self._credentials)
        return channel

    @classmethod
    def connect(cls, context: Context | Path | str | None = None, *, patience: Patience | None = None) -> Self:
        """A client of the site that a context (or a context file) describes; nothing is dialled before the first call.

        Raises:
            ContextError: the context or its credentials cannot be read.
        """
        return cls(context if isinstance(context, Context) else Context.load(context), patience)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channels; calls that are under way are cancelled."""
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to the process that serves a service, given its full name: what nobody else serves, jobs does."""
        for name in ("inventory", "locks", "gateway"):
            if service.startswith(f"virtyard.api.{name}."):
                return self._open(name)
        return self._open("jobs")

    async def call(
        self, service: str, method: str, request: Message, response: type[Message], timeout: float | None = None
    ) -> Any:
        """Call an rpc by name, as the command line does for services it has never seen."""
        stub = self.channel(service).unary_unary(
            f"/{service}/{method}",
            request_serializer=_serialise,
            response_deserializer=response.FromString,
        )
        return await stub(request, timeout=timeout)

    def stream(self, service: str, method: str, request: Message, response: type[Message]) -> AsyncIterator[Any]:
        """Call a streaming rpc by name."""
        stub = self.channel(service).unary_stream(
            f"/{service}/{method}",
            request_serializer=_serialise,
            response_deserializer=response.FromString,
        )
        return aiter(stub(request))

    async def upload(
        self, file: Path, on_progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> upload_service_pb2.UploadResponse:
        """Upload a file for an import, a MiB at a time; what is cut off leaves nothing on the server.

        Args:
            file: a local file.
            on_progress: is told how many bytes are sent, and how many there are.

        Raises:
            OSError: the file cannot be read.
            ClientError: it was refused, or the service stayed away.
        """
        sent = FileParts(file, on_progress)
        try:
            answer = await self.uploads.Upload(aiter(sent))
        except grpc.aio.AioRpcError as error:
            raise ClientError.from_rpc(error) from None
        finally:
            sent.close()
        sent.check(answer)
        return answer

    async def watch_operation(self, operation: Any, resume_token: str = "") -> AsyncIterator[tuple[Change, Story]]:
        """Yield each change of an operation with its whole story, until it has ended; goes on after cuts and restarts.

        `operation` is its name, or the Operation that a mutating rpc answered with.

        Raises:
            ClientError: there is no such operation, or the service stayed away.
        """
        if isinstance(operation, str):
            operation = operations_pb2.Operation(name=operation)
        story = Story(operation)
        options = watch_pb2.WatchOptions(resume_token=resume_token)
        request = job_service_pb2.WatchOperationRequest(name=story.name, options=options)
        async for frame in self.watch(self.jobs.WatchOperation, request):
            change = story.apply(frame)
            if change is not None:
                yield change, story

    async def wait(self, operation: Any, timeout: float | None = None) -> Story:
        """Wait until an operation has ended, whatever its end; `story.error` says why it failed.

        Raises:
            TimeoutError: it has not ended after `timeout` seconds; it goes on.
            ClientError: there is no such operation, or the service stayed away.
        """
        name = operation if isinstance(operation, str) else operation.name
        async with asyncio.timeout(timeout):
            story = Story(operations_pb2.Operation(name=name) if isinstance(operation, str) else operation)
            while not story.done:
                async for _, told in self.watch_operation(name):
                    story = told
                if not story.done:
                    # The stream ended in good order before the operation did: the server is going down.
                    await asyncio.sleep(self._patience.first_pause)
            return story

    def watch(
        self,
        method: Callable[[Any], Any],
        request: Any,
        *,
        on_live: Callable[[Watch], None] | None = None,
    ) -> Watch:
        """Watch by any rpc of any service, for ever, across cuts and restarts: no frame is lost, and none comes twice.

        Args:
            method: the rpc of a stub, as `client.jobs.WatchJobs`.
            request: its request; `options` in it says where to begin.
            on_live: is called with the watch whenever `watch.live` has changed.
        """

        def start(asked: watch_pb2.WatchOptions) -> AsyncIterator[Any]:
            wanted = type(request)()
            wanted.CopyFrom(request)
            wanted.options.CopyFrom(asked)
            return aiter(method(wanted))

        return Watch(start, request.options, self._patience, on_live)

    def watch_jobs(self, matching: str = "", resume_token: str = "") -> Watch:
        """Watch jobs: an iterator over the frames of WatchJobs, see `watch`."""
        options = watch_pb2.WatchOptions(resume_token=resume_token)
        return self.watch(self.jobs.WatchJobs, job_service_pb2.WatchJobsRequest(filter=matching, options=options))

    def watch_job_summary(self, resume_token: str = "", matching: str = "") -> Watch:
        """Watch the six counters, of all jobs or of those that match: the frames of WatchJobSummary, see `watch`."""
        options = watch_pb2.WatchOptions(resume_token=resume_token)
        request = job_service_pb2.WatchJobSummaryRequest(options=options, filter=matching)
        return self.watch(self.jobs.WatchJobSummary, request)

    def watch_objects(self, matching: str = "", resume_token: str = "") -> Watch:
        """Watch objects of all kinds: an iterator over the frames of WatchObjects, see `watch`."""
        options = watch_pb2.WatchOptions(resume_token=resume_token)
        request = inventory_service_pb2.WatchObjectsRequest(filter=matching, options=options)
        return self.watch(self.inventory.WatchObjects, request)

    def watch_events(self, matching: str = "", resume_token: str = "", within: str = "") -> Watch:
        """Watch events, all or those within an object: an iterator over the frames of WatchEvents, see `watch`."""
        options = watch_pb2.WatchOptions(resume_token=resume_token)
        request = inventory_service_pb2.WatchEventsRequest(filter=matching, options=options, within=within)
        return self.watch(self.inventory.WatchEvents, request)

    def watch_locks(self, matching: str = "", resume_token: str = "") -> Watch:
        """Watch locks: an iterator over the frames of WatchLocks, see `watch`."""
        options = watch_pb2.WatchOptions(resume_token=resume_token)
        return self.watch(self.locks.WatchLocks, lock_service_pb2.WatchLocksRequest(filter=matching, options=options))


def _serialise(message: Any) -> bytes:
    return bytes(message.SerializeToString())
