"""The descriptor set as the console reads it: what can be asked for here, operation types of other packages too.

It has the comments, as forms need them; google's files are left out, as every client has them. It holds no secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from starlette.datastructures import Headers
from starlette.responses import Response

from virtyard.gateway.port import App
from virtyard.operations import catalogue
from virtyard.operations.contract import OperationType

__all__ = ["PATH", "described", "descriptor_set"]

PATH: Final = "/descriptor.binpb"
"""Where the descriptor set is read."""
_KNOWN: Final = ("google/", "virtyard/")


def descriptor_set(operations: Mapping[str, OperationType]) -> bytes:
    """Return a serialised `FileDescriptorSet`: Virtyard's own files, and those of the operation types of others."""
    files = FileDescriptorSet.FromString(resources.files("virtyard.api").joinpath("descriptor.binpb").read_bytes())
    names = {file.name for file in files.file}
    for operation in operations.values():
        for file in _files_of(operation, names):
            if file.name not in names and not file.name.startswith("google/"):
                names.add(file.name)
                files.file.append(file)
    return files.SerializeToString(deterministic=True)


def described(files: App) -> App:
    """Return an application that answers with the descriptor set at its path, and leaves everything else to another."""
    content = descriptor_set(catalogue.load())
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"etag": etag, "cache-control": "no-cache"}

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != PATH:
            await files(scope, receive, send)
        elif Headers(scope=scope).get("if-none-match") == etag:
            await Response(status_code=304, headers=headers)(scope, receive, send)
        else:
            await Response(content, headers=headers, media_type="application/x-protobuf")(scope, receive, send)

    return answer


def _files_of(operation: OperationType, known: Iterable[str]) -> Iterator[FileDescriptorProto]:
    service = operation.method.rpartition(".")[0]
    if operation.descriptor_set:
        yield from FileDescriptorSet.FromString(operation.descriptor_set).file
        return
    # Without comments, but with everything else.
    file = descriptor_pool.Default().FindServiceByName(service).file
    if file.name not in known:
        yield from _closure(file)


def _closure(file: FileDescriptor) -> Iterator[FileDescriptorProto]:
    """Yield a file behind those that it imports."""
    for dependency in file.dependencies:
        if not dependency.name.startswith(_KNOWN):
            yield from _closure(dependency)
    copied = FileDescriptorProto()
    file.CopyToProto(copied)
    yield copied
