"""What a run left in S3: its files, and the metrics that the runtime wrote down; and its parameters, mirrored."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

from cloudml.outputs import METRICS, last_values
from cloudml.specs import Scalar
from cloudml_sagemaker.artifacts import S3Artifacts, split
from cloudml_sagemaker.limits import LONGEST_PARAMETER, MOST_PARAMETERS

MODEL, OUTPUT = "/output/model/", "/output/output.tar.gz"
LARGEST = 64 << 20  # bytes of an archive of outputs that is looked into for the metrics


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
    sizes = {f"s3://{bucket}/{name}": size for name, size in artifacts.sizes(prefix + "/").items()}
    besides = [uri for uri in sizes if not uri.startswith(run + MODEL)]
    archive = run + OUTPUT
    metrics: dict[str, float | None] = {}
    if sizes.get(archive, LARGEST) < LARGEST:
        with artifacts.open(archive) as file:
            metrics = last_values(_lines(file))
    return Output(frozenset(sizes), bool(besides), metrics)


def _lines(archive: IO[bytes]) -> Iterator[bytes]:
    """The lines of the runtime's record in an archive of what a job wrote to ``/opt/ml/output/data``."""
    with tarfile.open(fileobj=archive, mode="r:gz") as files:
        for member in files:
            if member.name.removeprefix("./") == METRICS and (record := files.extractfile(member)):
                yield from record


def parameters(params: Mapping[str, Scalar]) -> dict[str, str]:
    """Parameters as SageMaker shows them; the job itself reads its spec.

    One that is too long is left out, never cut; so are those over the hundredth.
    """
    encoded = {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}
    fitting = [(name, text) for name, text in encoded.items() if len(text) <= LONGEST_PARAMETER >= len(name)]
    return dict(fitting[:MOST_PARAMETERS])
