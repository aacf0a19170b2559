"""Imported images as actions refer to them."""

from __future__ import annotations

from virtyard.agent.drivers.storage.contract import ImageFile, Place, Storage
from virtyard.api.actions.v1 import image_file_pb2
from virtyard.kernel.errors import WrongState


async def image_file(image: image_file_pb2.ImageFile, storage: Storage) -> ImageFile:
    """Return the file of an imported image.

    Raises:
        WrongState: it is not in its repository.
    """
    found = await storage.find_image(Place(path=image.repository_path, uid=image.repository_uid), image.image_uid)
    if found is None:
        raise WrongState(f"{image.repository_path} has no image {image.image_uid}", resource=image.repository_path)
    return found
