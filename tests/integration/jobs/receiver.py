"""A receiver of webhooks as others would write one: a plain HTTP server, and the libraries of the two standards."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks.webhooks import Webhook
from typing_extensions import override

__all__ = ["Receiver", "receiving"]

Answer = tuple[int, Mapping[str, str]]


@dataclass(kw_only=True)
class Receiver:
    """What came, and what is answered."""

    url: str
    answer: Callable[[Any], Answer] = lambda _: (204, {})
    """From the CloudEvent, as a mapping, to the status and headers to answer with."""
    taken: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    """Headers and bodies, in the order in which they came, refused ones as well."""

    def events(self) -> list[Any]:
        """Return what came, each as a mapping."""
        return [json.loads(body) for _, body in self.taken]

    def verified(self, secret: str, place: int = -1) -> Any:
        """Return an event as the CloudEvents library reads it, once that of Standard Webhooks holds it for genuine."""
        headers, body = self.taken[place]
        _ = Webhook(secret).verify(body, dict(headers))
        return from_http_event(HTTPMessage(headers=dict(headers), body=body))


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """Listen on loopback, on this port or a free one."""
    receiver = Receiver(url="")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.taken.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status, headers = receiver.answer(json.loads(body))
            self.send_response(status)
            for name, value in {"content-length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        @override
        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/events"
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
