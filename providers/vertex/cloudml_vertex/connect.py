"""One provider in one project and location: the only file that imports Google's credentials and puts all together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import google.auth
import google.auth.transport.requests

from cloudml.errors import ConfigError
from cloudml.objects import Objects
from cloudml.spi import Caller
from cloudml_vertex.artifacts import CloudStorage
from cloudml_vertex.endpoints import VertexEndpoints
from cloudml_vertex.jobs import VertexJobs
from cloudml_vertex.models import VertexModels
from cloudml_vertex.predicting import Predictor
from cloudml_vertex.telemetry import VertexTelemetry
from cloudml_vertex.wire import Place, Wire

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


@dataclass(frozen=True)
class VertexProvider:
    """What ``connect`` returns; monitors live in the artifact store."""

    jobs: VertexJobs
    models: VertexModels
    endpoints: VertexEndpoints
    artifacts: Objects
    telemetry: VertexTelemetry
    monitors: None = None


def provider(config: Any, caller: Caller) -> VertexProvider:
    """Raises Unauthenticated without credentials, ConfigError without a project or a bucket."""
    credentials, own = caller.read("Credentials", lambda: google.auth.default(scopes=SCOPES))
    project = _given(config.project, "CLOUDML_VERTEX_PROJECT", "GOOGLE_CLOUD_PROJECT") or own
    if not project:
        raise ConfigError("vertex needs a project", hint="set 'project' of provider 'vertex', or GOOGLE_CLOUD_PROJECT")
    bucket = _given(config.bucket, "CLOUDML_VERTEX_BUCKET")
    if not bucket:
        hint = (
            "set 'bucket' of provider 'vertex'; 'gcloud storage buckets create gs://NAME --location=LOCATION' makes one"
        )
        raise ConfigError("vertex needs a bucket for what it stores", hint=hint)
    location = _given(config.location, "CLOUDML_VERTEX_LOCATION", "GOOGLE_CLOUD_LOCATION") or "us-central1"
    session = google.auth.transport.requests.AuthorizedSession(credentials)
    artifacts = Objects(CloudStorage(project, bucket, credentials, caller))
    wire = Wire(Place(project, location), credentials, config.transport, caller)
    return VertexProvider(
        jobs=VertexJobs(wire, artifacts, config.training_image, config.service_account),
        models=VertexModels(wire, artifacts),
        endpoints=VertexEndpoints(
            wire,
            artifacts,
            Predictor(wire.place, session, caller),
            _given(config.image, "CLOUDML_VERTEX_IMAGE"),
            config.service_account,
        ),
        artifacts=artifacts,
        telemetry=VertexTelemetry(wire.place, artifacts, session, caller),
    )


def _given(value: str | None, *variables: str) -> str | None:
    return value or next((os.environ[name] for name in variables if os.environ.get(name)), None)
