"""The settings of metrics and traces."""

from importlib.util import find_spec

from pydantic import Field, field_validator

from userapi.settings import CoreSettings

_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http", "opentelemetry.instrumentation.sqlalchemy")


class MetricSettings(CoreSettings):
    """What the operator decides about metrics and traces."""

    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="The port on which `serve` answers Prometheus; unset: none"
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        None, pattern=r"^https?://[^/]+", description="Where traces go, by OTLP over HTTP; unset: nowhere"
    )

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def _installed(cls, value: str | None) -> str | None:
        if value is not None and not all(map(_found, _NEEDED)):
            raise ValueError(
                "needs packages that are not installed: pip install opentelemetry-exporter-otlp-proto-http"
                " opentelemetry-instrumentation-sqlalchemy"
            )
        return value


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even its parent
        return False
