"""The exposition of metrics: GET /metrics over HTTP, in the formats of Prometheus, and nothing else.

It is plain HTTP and shows no names of objects; bind it to loopback or to the network of the monitoring.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from typing_extensions import override

from virtyard.kernel.errors import InvalidRequest, WrongState
from virtyard.runtime.instruments import Counter, Gauge, Histogram, Instrument
from virtyard.runtime.metrics import Metrics

__all__ = ["serve_metrics"]

_PATH = "/metrics"
_LONGEST_REQUEST = 16 * 1024
_REQUEST_SECONDS = 5.0
_log = logging.getLogger(__name__)


class _Instruments(Collector):
    """Our instruments as families of the library; those that have no series yet are left out."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @override
    def collect(self) -> Iterator[Metric]:
        """Yield a family for each instrument."""
        for instrument in self._metrics.instruments():
            family = _family(instrument)
            if family is not None and family.samples:
                yield family


def _family(instrument: Instrument) -> Metric | None:
    if isinstance(instrument, Counter):
        counter = CounterMetricFamily(instrument.name, instrument.help, labels=instrument.labels)
        for labels, value in instrument.values.items():
            counter.add_metric(labels, value)
        return counter
    if isinstance(instrument, Gauge):
        gauge = GaugeMetricFamily(instrument.name, instrument.help, labels=instrument.labels)
        for labels, value in instrument.values.items():
            gauge.add_metric(labels, value)
        return gauge
    if isinstance(instrument, Histogram):
        histogram = HistogramMetricFamily(instrument.name, instrument.help, labels=instrument.labels)
        bounds = [*(str(bound) for bound in instrument.bounds), "+Inf"]
        for labels, (*counts, total) in instrument.series.items():
            histogram.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
        return histogram
    return None


class _Handler:
    """Answers requests, a connection each."""

    def __init__(self, registry: CollectorRegistry, metrics: Metrics) -> None:
        self._registry = registry
        self._metrics = metrics
        self._open: set[asyncio.StreamWriter] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close the connection."""
        self._open.add(writer)
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            writer.write(await self._answer(head))
            async with asyncio.timeout(_REQUEST_SECONDS):
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            _log.debug("a request for metrics was not answered: %s", error)
        finally:
            self._open.discard(writer)
            writer.close()

    def abort(self) -> None:
        """Break every connection off."""
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _answer(self, head: str) -> bytes:
        request, *fields = head.split("\r\n")
        method, target, _ = (*request.split(" "), "", "", "")[:3]
        if target.partition("?")[0] != _PATH:
            return _response("404 Not Found", b"only /metrics is here\n")
        if method not in ("GET", "HEAD"):
            return _response("405 Method Not Allowed", b"only GET and HEAD are allowed\n", allow="GET, HEAD")
        accept = next((line.partition(":")[2] for line in fields if line.lower().startswith("accept:")), "")
        await self._metrics.look()
        encode, kind = choose_encoder(accept.strip())
        body = encode(self._registry)
        return _response("200 OK", body, kind=kind, bare=method == "HEAD")


def _response(
    status: str, body: bytes, *, kind: str = "text/plain; charset=utf-8", allow: str = "", bare: bool = False
) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close"]
    if allow:
        head.append(f"Allow: {allow}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + (b"" if bare else body)


@asynccontextmanager
async def serve_metrics(metrics: Metrics, address: str) -> AsyncIterator[str]:
    """Show the metrics, with those of the process itself, until the block ends; yields where, as host:port.

    Args:
        metrics: what is shown.
        address: host:port; port 0 lets the kernel choose.

    Raises:
        InvalidRequest: it is no address.
        WrongState: the address is taken or cannot be used.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InvalidRequest.of("metrics", f"{address!r} is not allowed; it must be host:port")
    registry = CollectorRegistry()
    for collector in (_Instruments(metrics), ProcessCollector(registry=None), PlatformCollector(registry=None)):
        registry.register(collector)
    GCCollector(registry=registry)
    handler = _Handler(registry, metrics)
    try:
        server = await asyncio.start_server(handler.handle, host.strip("[]"), int(port), limit=_LONGEST_REQUEST)
    except (OSError, OverflowError) as error:
        raise WrongState(f"{address} is taken or cannot be used for metrics: {error}") from error
    bound = f"{host}:{server.sockets[0].getsockname()[1]}"
    _log.info("metrics are on http://%s%s", bound, _PATH)
    try:
        yield bound
    finally:
        server.close()
        handler.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(_REQUEST_SECONDS):
                await server.wait_closed()
