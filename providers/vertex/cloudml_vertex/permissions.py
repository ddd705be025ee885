"""The least that a stack needs: which native call asks for which permission, as roles that ``gcloud iam`` takes.

Names by the IAM reference of each service. Vertex AI's permissions cannot be limited to names, so its role is given on
the project; the bucket's role on the bucket alone, that of the service account on that account alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from cloudml.spi import Scope

AI = "aiplatform."
# By kind; a list of operations asks for one permission whatever it belongs to, one operation for its resource's "get".
PERMISSIONS: Mapping[str, Mapping[str, str]] = {
    "job": {
        "CreateCustomJob": AI + "customJobs.create",
        "ListCustomJobs": AI + "customJobs.list",
        "GetOperation": AI + "customJobs.get",
        "ListOperations": AI + "operations.list",
        "CancelCustomJob": AI + "customJobs.cancel",
        "DeleteCustomJob": AI + "customJobs.delete",
        "ListLogEntries": "logging.logEntries.list",
    },
    "model": {
        "UploadModel": AI + "models.upload",
        "GetModel": AI + "models.get",
        "ListModels": AI + "models.list",
        "ListModelVersions": AI + "models.list",
        "ListOperations": AI + "operations.list",
        "UpdateModel": AI + "models.update",
        "MergeVersionAliases": AI + "models.update",
        "DeleteModel": AI + "models.delete",
        "DeleteModelVersion": AI + "models.delete",
    },
    "endpoint": {
        "UploadModel": AI + "models.upload",
        "GetModel": AI + "models.get",
        "ListModels": AI + "models.list",
        "DeleteModel": AI + "models.delete",
        "CreateEndpoint": AI + "endpoints.create",
        "GetEndpoint": AI + "endpoints.get",
        "ListEndpoints": AI + "endpoints.list",
        "ListOperations": AI + "operations.list",
        "UpdateEndpoint": AI + "endpoints.update",
        "DeleteEndpoint": AI + "endpoints.delete",
        "DeployModel": AI + "endpoints.deploy",
        "UndeployModel": AI + "endpoints.undeploy",
        "RawPredict": AI + "endpoints.predict",
        "CreateModelDeploymentMonitoringJob": AI + "modelDeploymentMonitoringJobs.create",
        "ListModelDeploymentMonitoringJobs": AI + "modelDeploymentMonitoringJobs.list",
        "PauseModelDeploymentMonitoringJob": AI + "modelDeploymentMonitoringJobs.pause",
        "ResumeModelDeploymentMonitoringJob": AI + "modelDeploymentMonitoringJobs.resume",
        "DeleteModelDeploymentMonitoringJob": AI + "modelDeploymentMonitoringJobs.delete",
        "ListLogEntries": "logging.logEntries.list",
        "ListTimeSeries": "monitoring.timeSeries.list",
    },
}
# Who writes over an object also deletes it.
BUCKET: Mapping[str, tuple[str, ...]] = {
    "ListObjects": ("storage.objects.list",),
    "GetObject": ("storage.objects.get",),
    "PutObject": ("storage.objects.create", "storage.objects.delete"),
    "CopyObject": ("storage.objects.get", "storage.objects.create", "storage.objects.delete"),
    "DeleteObject": ("storage.objects.delete",),
}


def roles(config: Any, scope: Scope) -> Mapping[str, Any]:
    """``grants``: a role each, and the resource it is to be given on; what is not configured is a word in capitals."""
    project = config.project or _variable("CLOUDML_VERTEX_PROJECT", "GOOGLE_CLOUD_PROJECT") or "PROJECT"
    bucket = config.bucket or _variable("CLOUDML_VERTEX_BUCKET") or "BUCKET"
    work = {each for kind, names in scope.names.items() if names for each in PERMISSIONS.get(kind, {}).values()}
    grants = [
        _grant(f"projects/{project}", f"cloudml {scope.stack}", work),
        _grant(f"gs://{bucket}", f"cloudml {scope.stack} artifacts", {name for row in BUCKET.values() for name in row}),
    ]
    if config.service_account:
        grants.append(_grant(config.service_account, f"cloudml {scope.stack} jobs", {"iam.serviceAccounts.actAs"}))
    return {"grants": grants}


def operations() -> Iterator[str]:
    """Every native call that is known here."""
    for names in (*PERMISSIONS.values(), BUCKET):
        yield from names


def _grant(resource: str, title: str, permissions: set[str]) -> dict[str, Any]:
    return {"on": resource, "role": {"title": title, "stage": "GA", "includedPermissions": sorted(permissions)}}


def _variable(*names: str) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)
