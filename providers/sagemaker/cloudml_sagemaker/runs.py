"""What a run left in S3: its files, and the metrics that the runtime wrote down; and its parameters, mirrored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudml.specs import Scalar
from cloudml_sagemaker.artifacts import S3Artifacts, split
from cloudml_sagemaker.limits import LONGEST_PARAMETER, MOST_PARAMETERS

METRICS = "metrics.jsonl"
MODEL = "/output/model/"


@dataclass(frozen=True)
class Output:
    """``objects`` are URIs; ``files`` says whether there are any besides the model's."""

    objects: frozenset[str] = frozenset()
    files: bool = False
    metrics: Mapping[str, float | None] = field(default_factory=dict)

    def has(self, uri: str) -> bool:
        return uri in self.objects


def read(artifacts: S3Artifacts, run: str) -> Output:
    """What lies under a run's URI; its metrics are the last value of each name."""
    bucket, prefix = split(run)
    objects = [f"s3://{bucket}/{name}" for name in artifacts.names(prefix + "/")]
    besides = [uri for uri in objects if not uri.startswith(run + MODEL)]
    metrics: dict[str, float | None] = {}
    for uri in besides:
        if uri.rpartition("/")[2] == METRICS:
            with artifacts.open(uri) as file:
                records = [json.loads(line) for line in file if line.endswith(b"\n")]
            metrics |= {record["name"]: record["value"] for record in records}
    return Output(frozenset(objects), bool(besides), metrics)


def parameters(params: Mapping[str, Scalar]) -> dict[str, str]:
    """Parameters as SageMaker shows them; the job itself reads its spec.

    One that is too long is left out, never cut; so are those over the hundredth.
    """
    encoded = {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}
    fitting = [(name, text) for name, text in encoded.items() if len(text) <= LONGEST_PARAMETER >= len(name)]
    return dict(fitting[:MOST_PARAMETERS])
