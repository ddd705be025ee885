"""The acts of the stories: what each cloud calls their writes, and what it shows meanwhile when it takes its time."""

from __future__ import annotations

from collections.abc import Mapping

ACTS = frozenset(
    (
        *("train", "cancel", "register", "version", "alias", "deploy", "deploy again", "replace", "replace in vain"),
        *("share", "shift", "ask", "apply", "destroy"),
    )
)
# By provider and act: the native writes, as patterns of the names by which faults are ordered. Of uploads,
# S3's alone are among them.
WRITES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "sagemaker": {
        "train": ("PutObject", "CreateTrainingJob"),
        "cancel": ("StopTrainingJob",),
        "register": ("CreateModelPackageGroup", "CreateModelPackage"),
        "version": ("CreateModelPackage",),
        "alias": ("AddTags",),
        "deploy": ("CreateModel", "CreateEndpointConfig", "CreateEndpoint"),
        "replace": ("CreateModel", "CreateEndpointConfig", "UpdateEndpoint"),
        "replace in vain": ("CreateModel", "CreateEndpointConfig", "UpdateEndpoint"),
        "share": ("CreateModel", "CreateEndpointConfig", "UpdateEndpoint"),
        "shift": ("UpdateEndpointWeightsAndCapacities",),
        "ask": ("InvokeEndpoint",),
        "apply": ("CreateTrainingJob", "CreateModelPackage", "CreateEndpoint"),
        "destroy": ("DeleteEndpoint", "DeleteModel", "DeleteModelPackage", "DeleteTrainingJob"),
    },
    "azureml": {
        "train": ("PUT environments/versions", "PUT jobs"),
        "cancel": ("POST jobs/cancel",),
        "register": ("PUT models", "PUT models/versions"),
        "version": ("PUT models/versions",),
        "alias": ("PUT models",),
        "deploy": ("PUT environments/versions", "PUT onlineEndpoints", "PUT onlineEndpoints/deployments"),
        "replace": ("PUT onlineEndpoints/deployments", "PUT onlineEndpoints", "DELETE onlineEndpoints/deployments"),
        "replace in vain": ("PUT onlineEndpoints/deployments",),
        "share": ("PUT onlineEndpoints/deployments", "PUT onlineEndpoints"),
        "shift": ("PUT onlineEndpoints",),
        "ask": ("POST score",),
        "apply": ("PUT jobs", "PUT models/versions", "PUT onlineEndpoints/deployments"),
        "destroy": ("DELETE onlineEndpoints", "DELETE models", "DELETE jobs"),
    },
    "vertex": {
        "train": ("CreateCustomJob",),
        "cancel": ("CancelCustomJob",),
        "register": ("UploadModel",),
        "version": ("UploadModel",),
        "alias": ("MergeVersionAliases",),
        "deploy": ("CreateEndpoint", "UploadModel", "DeployModel", "UpdateEndpoint"),
        "replace": ("UploadModel", "DeployModel", "UpdateEndpoint", "UndeployModel", "DeleteModel"),
        "replace in vain": ("UploadModel", "DeployModel"),
        "share": ("UploadModel", "DeployModel", "UpdateEndpoint"),
        "shift": ("UpdateEndpoint",),
        "ask": ("RawPredict",),
        "apply": ("CreateCustomJob", "UploadModel", "CreateEndpoint", "DeployModel"),
        "destroy": ("UndeployModel", "DeleteEndpoint", "DeleteModel", "DeleteCustomJob"),
    },
}

# What a slow cloud shows of an act, at least, and what whoever waits is told of it: a phase, or an operation.
_DEPLOYING = ("deploy", "deploy again", "replace", "replace in vain", "share")
SHOWN: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "sagemaker": {
        "train": {"Downloading": "preparing", "Uploading": "finalizing"},
        "cancel": {"Stopping": "cancelling"},
        **{act: {"Pending": "ready", "InProgress": "ready"} for act in ("register", "version")},  # the family is ready
        "deploy": {"Creating": "creating"},
        **{act: {"Updating": "updating"} for act in ("replace", "replace in vain", "share", "shift")},
        "apply": {"Downloading": "preparing", "Uploading": "finalizing", "InProgress": "ready", "Creating": "creating"},
        "destroy": {"Deleting": "deleting"},
    },
    "azureml": {
        "train": {"Provisioning": "provisioning", "Preparing": "preparing", "Queued": "pending"},
        "cancel": {"Running": "operation"},
        **{act: {"Creating": "operation"} for act in _DEPLOYING},
        "deploy again": {"Deleting": "operation"},
        "replace": {"Creating": "operation", "Updating": "operation", "Deleting": "operation"},
        "shift": {"Updating": "operation"},
        "apply": {"Provisioning": "provisioning", "Queued": "pending", "Creating": "operation"},
        "destroy": {"Deleting": "operation"},
    },
    "vertex": {
        "train": {"JOB_STATE_PENDING": "provisioning"},
        **{act: {"running": "operation"} for act in ("register", "version", *_DEPLOYING, "destroy")},
        "apply": {"JOB_STATE_PENDING": "provisioning", "running": "operation"},
    },
}

# Azure's operations that are taken and then fail, one time after the other; and calls that are answered 503.
FAILING: Mapping[str, tuple[str, ...]] = {
    "train": ("PUT jobs",),
    "deploy": ("PUT onlineEndpoints", "PUT onlineEndpoints/deployments"),
    "replace": ("PUT onlineEndpoints/deployments", "PUT onlineEndpoints", "DELETE onlineEndpoints/deployments"),
    "replace in vain": ("PUT onlineEndpoints/deployments",),
    "share": ("PUT onlineEndpoints/deployments", "PUT onlineEndpoints"),
    "shift": ("PUT onlineEndpoints",),
    "apply": ("PUT onlineEndpoints", "PUT onlineEndpoints/deployments"),
    "destroy": ("DELETE onlineEndpoints",),
}
UNAVAILABLE: Mapping[str, tuple[str, ...]] = {
    "cancel": ("POST jobs/cancel",),
    "register": ("PUT models/versions",),
    "version": ("PUT models/versions",),
    "alias": ("PUT models",),
    "ask": ("POST score",),
}

# Which containers an act starts, at least: whether they are of the universal image.
STARTS: Mapping[str, frozenset[bool]] = {
    "train": frozenset({False}),
    **dict.fromkeys(("deploy", "replace", "replace in vain", "share"), frozenset({True})),
    "apply": frozenset({False, True}),
}
