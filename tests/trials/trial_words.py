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

# What is shown to whoever waits for an act, at least: phases, or an operation that runs.
SHOWN: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "sagemaker": {
        "train": ("preparing", "finalizing"),
        "cancel": ("cancelling",),
        "register": ("ready",),
        "version": ("ready",),
        "deploy": ("creating",),
        "replace": ("updating",),
        "replace in vain": ("updating",),
        "share": ("updating",),
        "shift": ("updating",),
        "apply": ("preparing", "finalizing", "creating"),
        "destroy": ("deleting",),
    },
    "azureml": {
        "train": ("provisioning", "preparing", "pending"),
        "cancel": ("operation",),
        "deploy": ("operation",),
        "deploy again": ("operation",),
        "replace": ("operation",),
        "replace in vain": ("operation",),
        "share": ("operation",),
        "shift": ("operation",),
        "apply": ("provisioning", "preparing", "pending", "operation"),
        "destroy": ("operation",),
    },
    "vertex": {
        "train": ("provisioning",),
        "cancel": ("cancelling",),
        "register": ("operation",),
        "version": ("operation",),
        "deploy": ("operation",),
        "deploy again": ("operation",),
        "replace": ("operation",),
        "replace in vain": ("operation",),
        "share": ("operation",),
        "apply": ("provisioning", "operation"),
        "destroy": ("operation",),
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
