"""What a service tells Prometheus."""

from typing import Any

import httpx2 as httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.processes import wait_until


class Metrics:
    """The metrics of a service, as they are scraped."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/metrics"

    def total(self, name: str, /, **labels: Any) -> float:
        """The sum of all samples of a name that have these labels."""
        text = httpx.get(self.url, verify=False, timeout=30).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        wanted = {label: str(value) for label, value in labels.items()}
        return sum(one.value for one in samples if one.name == name and wanted.items() <= one.labels.items())

    def wait_for(self, value: float, name: str, /, **labels: Any) -> None:
        """Wait until the sum is this: a request is measured when its answer is on its way."""
        wait_until(lambda: self.total(name, **labels) == value, seconds=30)
