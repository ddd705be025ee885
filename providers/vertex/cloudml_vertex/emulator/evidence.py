"""What is known of each emulated method."""

from __future__ import annotations

from collections.abc import Mapping

from cloudml.emulation import Evidence
from cloudml_vertex.emulator.core import ROUTES

# The messages are Google's own and checked against the rules published with them; what stands behind these methods is
# written in the documentation, of the others it follows from the messages alone.
DOCUMENTED = (
    *("CreateCustomJob", "GetCustomJob", "CancelCustomJob", "DeleteCustomJob", "ListCustomJobs"),
    *("UploadModel", "GetModel", "ListModels", "ListModelVersions", "MergeVersionAliases", "UpdateModel"),
    *("CreateEndpoint", "GetEndpoint", "ListEndpoints", "UpdateEndpoint", "DeployModel", "UndeployModel"),
    *("Predict", "RawPredict", "DeleteModel", "DeleteModelVersion", "DeleteEndpoint"),
)
BESIDES: Mapping[str, Evidence] = {
    "JobService/CreateCustomJob: a worker begins again after 6, 11, 134 and 139": Evidence.DOCUMENTED,
    "JobService/CreateCustomJob: disableRetries ends that too; PENDING while a job begins again": Evidence.GUESSED,
    "google.longrunning.Operations": Evidence.SCHEMA,
    "storage.googleapis.com/storage/v1": Evidence.DOCUMENTED,
    "www.googleapis.com/storage/v1": Evidence.DOCUMENTED,  # its older host
    "logging.googleapis.com/v2/entries:list": Evidence.DOCUMENTED,
    "monitoring.googleapis.com/v3/timeSeries": Evidence.DOCUMENTED,
    "oauth2.googleapis.com/token": Evidence.DOCUMENTED,
    "metadata.google.internal": Evidence.DOCUMENTED,
    "*-docker.pkg.dev/v2": Evidence.DOCUMENTED,
    "artifactregistry.googleapis.com/v1/repositories": Evidence.SCHEMA,
    "iamcredentials.googleapis.com/allowedLocations": Evidence.GUESSED,
    "cloudresourcemanager.googleapis.com/projects": Evidence.GUESSED,
}
EVIDENCE: Mapping[str, Evidence] = {
    **{
        path: Evidence.DOCUMENTED if path.rpartition("/")[2] in DOCUMENTED else Evidence.SCHEMA
        for path in sorted(ROUTES)
    },
    **BESIDES,
}
