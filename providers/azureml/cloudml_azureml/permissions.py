"""The least that a stack needs: which native call asks for which action, as a custom role that ``az`` takes.

Names by Microsoft's page "Azure permissions for AI + machine learning" (role-based-access-control/permissions). Actions
cannot be limited to names, so the role is for a workspace. Blobs need no data action: they are reached by the signature
that ``datastores/listsecrets`` gives.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cloudml.spi import Scope

PROVIDER = "Microsoft.MachineLearningServices"
WORKSPACES = f"{PROVIDER}/workspaces"
DATA_SCIENTIST, READER = "AzureML Data Scientist", "Reader"
# Whatever a stack has: the region, the artifact store, and how a long-running call went on.
ALWAYS: Mapping[str, str] = {
    "GET workspace": f"{WORKSPACES}/read",
    "GET datastores": f"{WORKSPACES}/datastores/read",
    "POST datastores": f"{WORKSPACES}/datastores/listsecrets/action",
    "GET operation": f"{PROVIDER}/locations/mfeOperationsStatus/read",
    "GET result": f"{PROVIDER}/locations/mfeOperationResults/read",
}
ENVIRONMENTS: Mapping[str, str] = {
    "GET environments": f"{WORKSPACES}/environments/versions/read",
    "PUT environments": f"{WORKSPACES}/environments/versions/write",
}
# By kind, the native calls as the adapter names them.
CALLS: Mapping[str, Mapping[str, str]] = {
    "job": {
        **ENVIRONMENTS,
        "GET jobs": f"{WORKSPACES}/jobs/read",
        "PUT jobs": f"{WORKSPACES}/jobs/write",
        "POST jobs": f"{WORKSPACES}/jobs/cancel/action",
        "DELETE jobs": f"{WORKSPACES}/jobs/delete",
        "GET history": f"{WORKSPACES}/experiments/runs/read",
    },
    "model": {
        "GET models": f"{WORKSPACES}/models/read",
        "PUT models": f"{WORKSPACES}/models/write",
        "DELETE models": f"{WORKSPACES}/models/delete",
        "GET versions": f"{WORKSPACES}/models/versions/read",
        "PUT versions": f"{WORKSPACES}/models/versions/write",
        "DELETE versions": f"{WORKSPACES}/models/versions/delete",
    },
    "endpoint": {
        **ENVIRONMENTS,
        "GET onlineEndpoints": f"{WORKSPACES}/onlineEndpoints/read",
        "PUT onlineEndpoints": f"{WORKSPACES}/onlineEndpoints/write",
        "DELETE onlineEndpoints": f"{WORKSPACES}/onlineEndpoints/delete",
        "POST onlineEndpoints": f"{WORKSPACES}/onlineEndpoints/listKeys/action",
        "GET deployments": f"{WORKSPACES}/onlineEndpoints/deployments/read",
        "PUT deployments": f"{WORKSPACES}/onlineEndpoints/deployments/write",
        "DELETE deployments": f"{WORKSPACES}/onlineEndpoints/deployments/delete",
        "POST deployments": f"{WORKSPACES}/onlineEndpoints/deployments/getLogs/action",
        "GET metrics": "Microsoft.Insights/metrics/read",
        "GET schedules": f"{WORKSPACES}/schedules/read",
        "PUT schedules": f"{WORKSPACES}/schedules/write",
        "DELETE schedules": f"{WORKSPACES}/schedules/delete",
        "PUT jobs": f"{WORKSPACES}/jobs/write",  # a schedule makes its jobs for whoever made it
    },
}


def role(config: Any, scope: Scope) -> Mapping[str, Any]:
    """The role as ``az role definition create --role-definition FILE`` takes it; unknown places in capitals.

    A role is defined on a resource group, and given on the workspace by ``az role assignment create --scope``.
    """
    subscription = config.subscription or _variable("CLOUDML_AZUREML_SUBSCRIPTION", "AZURE_SUBSCRIPTION_ID")
    group = config.resource_group or _variable("CLOUDML_AZUREML_RESOURCE_GROUP")
    actions = {*ALWAYS.values()}
    actions |= {action for kind, names in scope.names.items() if names for action in CALLS.get(kind, {}).values()}
    return {
        "Name": f"cloudml {scope.stack}",
        "IsCustom": True,
        "Description": f"What cloudml's stack {scope.stack} needs of a workspace of Azure Machine Learning",
        "Actions": sorted(actions),
        "NotActions": [],
        "DataActions": [],
        "NotDataActions": [],
        "AssignableScopes": [
            f"/subscriptions/{subscription or 'SUBSCRIPTION'}/resourceGroups/{group or 'RESOURCE_GROUP'}"
        ],
    }


def built_in(action: str) -> str:
    """The built-in role that has an action: the narrowest of those that Microsoft lists for a workspace."""
    return READER if action.lower().endswith("/read") else DATA_SCIENTIST


def _variable(*names: str) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)
