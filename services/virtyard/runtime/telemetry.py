"""Traces by OpenTelemetry: with VIRTYARD_TRACES unset nothing beyond the API is imported and nothing is recorded.

VIRTYARD_TRACES is `otlp` (the OTLP exporter with its own variables), `console`, or `file:PATH` (one JSON object a
line). Sampling follows OTEL_TRACES_SAMPLER. Streams get no span of their own: a watch lasts for days.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from virtyard.kernel.errors import InvalidRequest, VirtyardError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["configure", "extract", "inject", "is_on", "serving", "span", "trace_id", "trace_id_of"]

_SCOPE = "virtyard"
_VARIABLE = "VIRTYARD_TRACES"


def configure(service: str, environ: Mapping[str, str], *, exporter: SpanExporter | None = None) -> Callable[[], None]:
    """Record traces if the environment asks for it; a process calls this once, at its start.

    Args:
        service: what the process is called in traces, as `jobs`.
        environ: the environment.
        exporter: where spans go instead, for tests.

    Returns: a function that sends what is left; call it at the end.

    Raises:
        InvalidRequest: the variable's value is none of those above, or the exporter is not installed.
    """
    wanted = environ.get(_VARIABLE, "")
    if not wanted and exporter is None:
        return _nothing
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = exporter or _exporter(wanted)
    except ImportError as error:
        raise InvalidRequest.of(_VARIABLE, "needs the extra `virtyard[telemetry]`") from error
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def is_on() -> bool:
    """Return whether traces are recorded in this process."""
    if "opentelemetry.sdk" not in sys.modules:
        # Only the SDK records; asking the API for the provider costs 12 us, ten times for each operation.
        return False
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider | trace.NoOpTracerProvider)


def inject() -> dict[str, str]:
    """Return the present trace context as it travels in metadata and rests in a database; empty when off."""
    carrier: dict[str, str] = {}
    if is_on():
        TraceContextTextMapPropagator().inject(carrier)
    return carrier


def extract(carrier: Mapping[str, str]) -> Context:
    """Return the trace context that `inject` gave somewhere else."""
    return TraceContextTextMapPropagator().extract(dict(carrier))


def trace_id() -> str:
    """Return the present trace's id in hexadecimal; empty without one."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""


def trace_id_of(carrier: Mapping[str, str]) -> str:
    """Return the trace's id in what a message carries of it; empty if it carries none."""
    parts = carrier.get("traceparent", "").split("-")
    return parts[1] if len(parts) == 4 else ""


@contextmanager
def span(
    name: str,
    carrier: Mapping[str, str] | None = None,
    *,
    kind: trace.SpanKind = trace.SpanKind.INTERNAL,
    **attributes: str | float | bool,
) -> Iterator[None]:
    """Record what happens in the block as a span.

    Args:
        name: what happens, as `step create virtual disk`.
        carrier: the trace context to continue; the present one if not given.
        kind: as OpenTelemetry has it.
        attributes: facts about it; `job` becomes `virtyard.job`.
    """
    if not is_on():
        yield
        return
    tracer = trace.get_tracer(_SCOPE)
    context = extract(carrier) if carrier else None
    named: dict[str, Any] = {f"virtyard.{key}": value for key, value in attributes.items()}
    with tracer.start_as_current_span(name, context, kind=kind, attributes=named) as current:
        try:
            yield
        except VirtyardError as error:
            current.set_attribute("virtyard.reason", error.reason)
            raise


def serving(path: str, carrier: Mapping[str, str]) -> Any:
    """Return the span of a unary call that is served, as a child of the caller's."""
    return span(path.removeprefix("/"), carrier, kind=trace.SpanKind.SERVER)


def _nothing() -> None:
    """Send nothing: traces are off."""


def _exporter(wanted: str) -> SpanExporter:
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    if wanted == "otlp":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    if wanted == "console":
        return ConsoleSpanExporter()
    if wanted.startswith("file:"):
        path = Path(wanted.removeprefix("file:"))
        path.parent.mkdir(parents=True, exist_ok=True)
        return ConsoleSpanExporter(out=path.open("a", encoding="utf-8", buffering=1), formatter=_line)
    raise InvalidRequest.of(_VARIABLE, "must be otlp, console or file:PATH")


def _line(one: ReadableSpan) -> str:
    return json.dumps(json.loads(one.to_json()), separators=(",", ":")) + "\n"
