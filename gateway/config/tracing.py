"""The `tracing` section: whether requests are traced. Floor 2: pure."""

from typing import Literal

from gateway.config.fields import Flag, Model


class Tracing(Model):
    """OpenTelemetry spans; what is sampled and where it goes, `OTEL_…` variables say."""

    enabled: Flag = False
    """Record spans (extra `otel`); without, the client's trace context passes as it is."""
    parent: Literal["anybody", "trusted"] = "anybody"
    """Whose `traceparent` is continued: anybody's, or of `trusted_proxies` alone."""
