"""A site that says what a test tells it to: real grpc.aio over mutual TLS, canned answers, and what was asked."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.longrunning import operations_pb2
from google.protobuf import any_pb2
from google.rpc import status_pb2
from grpc_status import rpc_status
from typing_extensions import override

from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.type.v1 import watch_pb2

KINDS = ("inventory", "jobs", "locks")
_to_status: Any = rpc_status.to_status


def _sign(name: str, hosts: Sequence[str], issuer: Any = None, issuer_key: Any = None) -> tuple[Any, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        names = [x509.DNSName(host) for host in hosts] + [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256()), key


def _write(folder: Path, ca: Any, certificate: Any, key: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def make_credentials(folder: Path) -> tuple[Path, Path]:
    """Make an authority, one certificate that names all three services, and a user's; returns both folders."""
    ca, ca_key = _sign("test authority", ())
    server, user = folder / "server", folder / "user"
    _write(server, ca, *_sign("services", [f"virtyard-service-{kind}" for kind in KINDS], ca, ca_key))
    _write(user, ca, *_sign("user", ["virtyard-user-test"], ca, ca_key))
    return server, user


@dataclass
class Site:
    """What the fake answers, and what it was asked."""

    context: Path
    """The context file of the site."""
    answers: dict[str, Any] = field(default_factory=dict)
    """By method path: a message, a Status to refuse with, or a list of them, one for each call (the last stays)."""
    streams: dict[str, list[list[Any]]] = field(default_factory=dict)
    """By method path: for each call what to do: send a frame, cut the stream, refuse it, or await a callable."""
    collected: dict[str, Callable[[list[bytes]], Any]] = field(default_factory=dict)
    """By method path: from all requests of a stream to the one answer, a message or a Status to refuse with."""
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    """Each request as (method path, bytes)."""
    metadata: list[dict[str, str]] = field(default_factory=list)
    """The metadata of each request."""

    def requests(self, message: type[Any]) -> list[Any]:
        """All requests that were sent as that message, by the name of the method."""
        name = message.DESCRIPTOR.name.removesuffix("Request")
        return [message.FromString(data) for path, data in self.asked if path.rpartition("/")[2] == name]


class Cut(Exception):
    """In a stream's script: end the stream with UNAVAILABLE here."""


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, site: Site) -> None:
        self._site = site

    @override
    def service(self, handler_call_details: Any) -> Any:
        path = handler_call_details.method
        if path in self._site.streams:
            return grpc.unary_stream_rpc_method_handler(self._stream(path))
        if path in self._site.collected:
            return grpc.stream_unary_rpc_method_handler(self._collect(path))
        if path in self._site.answers:
            return grpc.unary_unary_rpc_method_handler(self._unary(path))
        return None

    def _note(self, path: str, data: bytes, context: Any) -> None:
        self._site.asked.append((path, data))
        self._site.metadata.append(dict(context.invocation_metadata()))

    def _unary(self, path: str) -> Callable[[bytes, Any], Any]:
        async def answer(data: bytes, context: Any) -> bytes:
            self._note(path, data, context)
            said = self._site.answers[path]
            if isinstance(said, list):
                said = said.pop(0) if len(said) > 1 else said[0]
            if isinstance(said, status_pb2.Status):
                await context.abort_with_status(_to_status(said))
            return bytes(said.SerializeToString())

        return answer

    def _collect(self, path: str) -> Callable[[AsyncIterator[bytes], Any], Any]:
        async def answer(requests: AsyncIterator[bytes], context: Any) -> bytes:
            said = self._site.collected[path]([data async for data in requests])
            if isinstance(said, status_pb2.Status):
                await context.abort_with_status(_to_status(said))
            return bytes(said.SerializeToString())

        return answer

    def _stream(self, path: str) -> Callable[[bytes, Any], Any]:
        async def answer(data: bytes, context: Any) -> AsyncIterator[bytes]:
            self._note(path, data, context)
            scripts = self._site.streams[path]
            script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
            for said in script:
                if isinstance(said, Cut):
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "cut by the test")
                elif isinstance(said, status_pb2.Status):
                    await context.abort_with_status(_to_status(said))
                elif callable(said):
                    await said()
                else:
                    yield said.SerializeToString()

        return answer


async def serve(folder: Path) -> tuple[Site, grpc.aio.Server]:
    """Start a site whose context file lies in `folder`; the caller stops the server."""
    server_folder, user_folder = make_credentials(folder)
    site = Site(context=folder / "context.json")
    server = grpc.aio.server(options=[("grpc.enable_http_proxy", 0)])
    server.add_generic_rpc_handlers((_Handler(site),))
    ca, certificate, key = ((server_folder / name).read_bytes() for name in ("ca.pem", "cert.pem", "key.pem"))
    credentials = grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    content = dict.fromkeys(KINDS, f"127.0.0.1:{port}") | {"credentials": str(user_folder)}
    site.context.write_text(json.dumps(content))
    return site, server


def operation(
    number: int = 12,
    state: int = operation_pb2.OPERATION_STATE_ACTIVE,
    *,
    response: Any = None,
    error: status_pb2.Status | None = None,
    jobs: int = 2,
    **metadata: Any,
) -> operations_pb2.Operation:
    """An operation with its metadata, done unless it is active."""
    packed = any_pb2.Any()
    packed.Pack(
        operation_pb2.OperationMetadata(
            state=state,  # type: ignore[arg-type] # a number of the enum
            title="Create Virtual Machine",
            jobs=[f"jobs/{number}-{place}" for place in range(1, jobs + 1)],
            resume_tokens={"jobs": "before"},
            **metadata,
        )
    )
    made = operations_pb2.Operation(
        name=f"operations/{number}", metadata=packed, done=state != operation_pb2.OPERATION_STATE_ACTIVE
    )
    if response is not None:
        made.response.Pack(response)
    if error is not None:
        made.error.CopyFrom(error)
    return made


def operation_frame(made: operations_pb2.Operation, token: str) -> job_service_pb2.WatchOperationResponse:
    """A frame of WatchOperation that shows the operation."""
    return job_service_pb2.WatchOperationResponse(
        kind=watch_pb2.FRAME_KIND_CHANGED, resume_token=token, name=made.name, operation=made
    )


def job_frame(place: int, title: str, state: int, token: str, **job: Any) -> job_service_pb2.WatchOperationResponse:
    """A frame of WatchOperation that shows a job."""
    name = f"jobs/12-{place}"
    made = job_pb2.Job(name=name, operation="operations/12", title=title, state=state, **job)  # type: ignore[arg-type]
    return job_service_pb2.WatchOperationResponse(
        kind=watch_pb2.FRAME_KIND_CHANGED, resume_token=token, name=name, job=made
    )


def bare_frame(kind: int, token: str = "") -> job_service_pb2.WatchOperationResponse:
    """A frame without an item, as KEEPALIVE or GOODBYE."""
    return job_service_pb2.WatchOperationResponse(kind=kind, resume_token=token)  # type: ignore[arg-type]
