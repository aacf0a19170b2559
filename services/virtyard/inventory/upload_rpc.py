"""UploadService: takes the bytes of images that are to be imported."""

from __future__ import annotations

from collections.abc import AsyncIterator

from virtyard.api.inventory.v1 import upload_service_pb2
from virtyard.inventory.uploads import Uploads
from virtyard.runtime.call import Call

__all__ = ["UploadRpc"]


class UploadRpc:
    """Takes uploads."""

    def __init__(self, uploads: Uploads) -> None:
        """Keep them there."""
        self._uploads = uploads

    async def Upload(
        self, requests: AsyncIterator[upload_service_pb2.UploadRequest], call: Call
    ) -> upload_service_pb2.UploadResponse:
        """Take a file."""
        return await self._uploads.receive(requests)
