"""What calls leave behind, for each account and region: metrics in CloudWatch, captured records in S3."""

from __future__ import annotations

from collections import Counter

from cloudml_sagemaker.emulator.accounts import Scope
from cloudml_sagemaker.emulator.capture import Capture
from cloudml_sagemaker.emulator.telemetry import Metrics

NAMESPACE = "AWS/SageMaker"
MICRO = 1_000_000


class Recorder:
    """Notes calls as they are answered; `flush` stores what was noted."""

    def __init__(self, scope: Scope) -> None:
        self.capture = Capture(scope)
        self.metrics = Metrics(scope)
        self.calls: Counter[tuple[str, str]] = Counter()  # by endpoint and variant, since the account began

    def count(self, endpoint: str, variant: str, status: int, model: float, overhead: float) -> None:
        """One call: what it counts as, and how long the model and the emulator took, in seconds."""
        self.calls[endpoint, variant] += 1
        dimensions = {"EndpointName": endpoint, "VariantName": variant}
        counts = {
            "Invocations": 1.0,
            "Invocation4XXErrors": float(400 <= status < 500),
            "Invocation5XXErrors": float(status >= 500 or status == 0),
            "InvocationModelErrors": float(not 200 <= status < 300),
        }
        self.metrics.add(NAMESPACE, dimensions, counts, "Count")
        times = {"ModelLatency": model * MICRO, "OverheadLatency": max(0.0, overhead) * MICRO}
        self.metrics.add(NAMESPACE, dimensions, times, "Microseconds")

    def flush(self) -> None:
        self.metrics.flush()
        self.capture.flush()


def recorder(scope: Scope) -> Recorder:
    """The recorder of an account in a region, made when it is first asked for."""
    with scope.lock:
        found: Recorder = scope.table("recorder").setdefault("", None) or Recorder(scope)
        scope.table("recorder")[""] = found
        return found
