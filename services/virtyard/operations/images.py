"""What every operation on images checks: which one is named, and whether it may be used so."""

from __future__ import annotations

import re
from dataclasses import dataclass

from virtyard.api.actions.v1 import image_file_pb2
from virtyard.api.inventory.v1 import image_pb2, repository_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.view import View
from virtyard.operations.needs import check
from virtyard.operations.refusals import state_word

_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_UPLOAD = re.compile(r"uploads/[A-Za-z0-9]{1,63}")
_USES = {
    image_pb2.IMAGE_FORMAT_ISO: "a CD-ROM drive takes one of format ISO",
    image_pb2.IMAGE_FORMAT_DISK: "a disk is made from one of format DISK",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsableImage:
    """An image that an operation uses, with the repository that holds it."""

    image: image_pb2.Image
    """The image."""
    repository: repository_pb2.Repository
    """Where it lies."""

    @property
    def file(self) -> image_file_pb2.ImageFile:
        """Return the image as hosts find it."""
        return image_file_pb2.ImageFile(
            repository_path=self.repository.path, repository_uid=self.repository.uid, image_uid=self.image.uid
        )


def image_ready(image: image_pb2.Image) -> str:
    """Need an image that is ready."""
    if image.state != image_pb2.IMAGE_STATE_READY:
        return f"{image.name} is {state_word(image)}; it must be ready"
    return ""


def usable_image(view: View, name: str, wanted: image_pb2.ImageFormat.ValueType, pool: str, field: str) -> UsableImage:
    """Return an image that is of the wanted format, ready, and reached by the servers of a pool.

    Args:
        view: what was read: the image and its repository.
        name: the image.
        wanted: the format that the use needs.
        pool: the pool whose servers must reach it; empty for any.
        field: the request's field that led to it, for the refusal.

    Raises:
        NotFound: it does not exist.
        InvalidRequest: it is of another format, or not presented to the pool.
        WrongState: it is not ready.
    """
    image = view.get(name, image_pb2.Image, field=field)
    check(image, field, image_ready)
    if image.format != wanted:
        raise InvalidRequest.of(field, f"{image.name} is not allowed; {_USES[wanted]}")
    repository = view.get(image.repository, repository_pb2.Repository, field=field)
    if pool and repository.server_pool != pool:
        raise InvalidRequest.of(field, f"{image.name} is in {repository.name}, which is not presented to {pool}")
    return UsableImage(image=image, repository=repository)


def check_digest(digest: str, field: str) -> str:
    """Return a SHA-256 digest in lower case; empty for none.

    Raises:
        InvalidRequest: it is no digest; the refusal names `field`.
    """
    if digest and not _DIGEST.fullmatch(digest):
        raise InvalidRequest.of(field, f"{digest!r} is not allowed; it must be 64 hexadecimal digits")
    return digest.lower()


def check_upload(name: str, field: str) -> str:
    """Return the name of an upload if it can be one.

    Raises:
        InvalidRequest: it cannot; the refusal names `field`.
    """
    if not _UPLOAD.fullmatch(name):
        raise InvalidRequest.of(field, f"{name!r} is no upload; allowed is uploads/ID as an upload answered it")
    return name
