"""What is known of each route: how far an answer of this emulator has been compared with the service's own.

RECORDED: request, status and body have the members of a public recording of the real service. SCHEMA: the request is
checked against the vendor's model of that api-version, and the SDK reads the answer. DOCUMENTED: the behaviour follows
Microsoft's documentation. Nothing here was compared with a live subscription.
"""

from __future__ import annotations

from collections.abc import Mapping

from cloudml.emulation import Evidence

_OF = {
    Evidence.RECORDED: (
        *("GET workspace", "LIST datastores", "GET datastores", "POST datastores/listSecrets"),
        *("LIST codes/versions", "PUT codes/versions", "GET codes/versions", "POST codes/versions/startPendingUpload"),
        *("PUT data/versions", "GET data/versions"),
        *("PUT jobs", "GET jobs"),
    ),
    Evidence.SCHEMA: (
        *("LIST data/versions", "LIST data", "GET data", "PUT data"),
        *(
            "PUT models/versions",
            "GET models/versions",
            "LIST models/versions",
            "LIST models",
            "GET models",
            "PUT models",
        ),
        *("PUT environments/versions", "GET environments/versions", "LIST environments/versions"),
        *("LIST onlineEndpoints", "GET onlineEndpoints", "PUT onlineEndpoints", "POST onlineEndpoints/listKeys"),
        *("PUT onlineEndpoints/deployments", "GET onlineEndpoints/deployments", "LIST onlineEndpoints/deployments"),
        "LIST workspaces",
        *("PUT schedules", "GET schedules", "LIST schedules"),
        *("POST onlineEndpoints/regenerateKeys", "POST onlineEndpoints/deployments/getLogs"),
        *("LIST environments", "GET environments", "PUT environments", "LIST jobs"),
        *("GET history/runs/details", "GET history/runs", "POST history/rundata", "PATCH history/experiments/runs"),
        *("POST data/dataversion/batchGetResolvedUris", "POST modelregistry/models/batchGetResolvedUris"),
    ),
    Evidence.DOCUMENTED: (
        *("LIST computes", "GET computes", "POST jobs/cancel", "DELETE jobs"),
        *("DELETE schedules", "POST schedules/trigger", "LIST onlineEndpoints/providers/microsoft.insights/metrics"),
        *("LIST tenants", "LIST subscriptions", "GET subscriptions", "LIST resourceGroups", "GET resourceGroups"),
        *("DELETE onlineEndpoints", "DELETE onlineEndpoints/deployments", "POST onlineEndpoints/token", "POST score"),
        *("POST oauth2/v2.0/token", "GET discovery", "GET mfeOperationsStatus", "GET mfeOperationResults"),
    ),
    Evidence.GUESSED: (
        *(f"DELETE {kind}/versions" for kind in ("codes", "data", "models", "environments")),
        *(f"DELETE {kind}" for kind in ("data", "models", "environments")),
    ),
}

EVIDENCE: Mapping[str, Evidence] = {route: known for known, routes in _OF.items() for route in routes}
