"""Traces by OpenTelemetry: of requests by FastAPI's own support, of statements by the instrumentation of SQLAlchemy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from userapi.metrics.settings import MetricSettings


def options(settings: MetricSettings) -> dict[str, Any]:
    """Return how the application traces requests. What it would log has messages of errors in it, so it does not."""
    if settings.otel_exporter_otlp_endpoint is None:
        return {}
    provider = _provider(settings.otel_exporter_otlp_endpoint)
    telemetry = {"tracing": True, "metrics": False, "logs": False, "auto_configure": False}
    return {"telemetry": {**telemetry, "operation_spans": False, "tracer_provider": provider}}


@asynccontextmanager
async def of_statements(services: Any) -> AsyncIterator[None]:
    """Trace the statements of the services' database until the end, and send off what is left then."""
    endpoint = services.settings.otel_exporter_otlp_endpoint
    if endpoint is None:
        yield
        return
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor  # noqa: PLC0415 - only if it is asked for

    engines = list(services.database.engines.values())
    # It names SQLAlchemy 2.0 as the last version that it knows; what it listens to is in 2.1 as well.
    SQLAlchemyInstrumentor().instrument(engines=engines, tracer_provider=_provider(endpoint), skip_dep_check=True)
    try:
        yield
    finally:
        SQLAlchemyInstrumentor().uninstrument()
        _provider(endpoint).force_flush()


@cache
def _provider(endpoint: str) -> Any:
    """Return what sends spans to a collector. The libraries read OpenTelemetry's other variables themselves."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - as above
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above

    provider = TracerProvider(resource=Resource({"service.name": "userapi"}).merge(OTELResourceDetector().detect()))
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
