"""Metrics for Prometheus and traces by OpenTelemetry: off, and free of cost, unless the settings ask for them."""
