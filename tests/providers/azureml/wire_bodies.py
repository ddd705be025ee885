"""A full body of each kind, as the SDK sends it, by the api-version through which it goes."""

from __future__ import annotations

from typing import Any

W = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
JOB: dict[str, Any] = {
    "properties": {
        "displayName": "j",
        "command": "python3 train.py --data ${{inputs.data}} --lr ${{inputs.lr}}",
        "codeId": f"{W}/codes/c/versions/1",
        "computeId": f"{W}/computes/cpu-cluster",
        "properties": {},
        "experimentName": "exp1",
        "isArchived": False,
        "inputs": {
            "data": {"uri": f"{W}/data/d/versions/1", "jobInputType": "uri_file", "mode": "Download"},
            "lr": {"value": "0.1", "jobInputType": "literal"},
        },
        "outputs": {"model": {"jobOutputType": "uri_folder"}},
        "environmentId": f"{W}/environments/e/versions/1",
        "tags": {"t": "1"},
        "environmentVariables": {"A": "1"},
        "jobType": "Command",
        "distribution": {"processCountPerInstance": 1, "distributionType": "PyTorch"},
        "identity": {"identityType": "UserIdentity"},
        "resources": {"instanceCount": 2, "instanceType": "Standard_DS3_v2", "properties": {}, "shmSize": "2g"},
        "limits": {"timeout": "PT10M", "jobLimitsType": "Command"},
        "queueSettings": {"jobTier": "Spot"},
    }
}
ENDPOINT: dict[str, Any] = {
    "location": "eastus",
    "properties": {
        "description": "d",
        "authMode": "Key",
        "properties": {},
        "traffic": {"blue": 90, "green": 10},
        "mirrorTraffic": {"red": 10},
    },
    "identity": {"type": "SystemAssigned"},
    "tags": {"a": "b"},
}
DEPLOYMENT: dict[str, Any] = {
    "location": "eastus",
    "properties": {
        "codeConfiguration": {"codeId": f"{W}/codes/c/versions/1", "scoringScript": "score.py"},
        "environmentId": f"{W}/environments/e/versions/1",
        "model": f"{W}/models/m/versions/1",
        "properties": {},
        "environmentVariables": {"X": "1"},
        "appInsightsEnabled": True,
        "requestSettings": {"maxConcurrentRequestsPerInstance": 2, "requestTimeout": "PT3S"},
        "livenessProbe": {"initialDelay": "PT10S"},
        "instanceType": "Standard_DS3_v2",
        "scaleSettings": {"scaleType": "Default"},
        "dataCollector": {
            "collections": {
                "request": {"dataCollectionMode": "enabled", "samplingRate": 0.5, "dataId": f"{W}/data/d/versions/1"}
            }
        },
        "endpointComputeType": "Managed",
    },
    "tags": {},
    "sku": {"name": "Default", "capacity": 1},
}
MONITOR: dict[str, Any] = {
    "properties": {
        "properties": {},
        "tags": {},
        "action": {
            "monitorDefinition": {
                "computeConfiguration": {
                    "runtimeVersion": "3.4",
                    "instanceType": "standard_e4s_v3",
                    "computeIdentity": {"computeIdentityType": "AmlToken"},
                    "computeType": "ServerlessSpark",
                },
                "monitoringTarget": {
                    "taskType": "classification",
                    "deploymentId": f"{W}/onlineEndpoints/e/deployments/d",
                },
                "signals": {
                    "drift": {
                        "productionData": {
                            "dataContext": "model_inputs",
                            "jobInputType": "uri_folder",
                            "uri": f"{W}/data/in/versions/1",
                            "windowSize": "P7D",
                            "windowOffset": "P0D",
                            "inputDataType": "Trailing",
                        },
                        "referenceData": {
                            "dataContext": "training",
                            "jobInputType": "uri_file",
                            "uri": f"{W}/data/train/versions/1",
                            "inputDataType": "Fixed",
                        },
                        "features": {"top": 10, "filterType": "TopNByAttribution"},
                        "metricThresholds": [
                            {
                                "metric": "jensenShannonDistance",
                                "threshold": {"value": 0.01},
                                "dataType": "Numerical",
                            }
                        ],
                        "signalType": "DataDrift",
                        "mode": "Enabled",
                    }
                },
                "alertNotificationSetting": {
                    "alertNotificationType": "Email",
                    "emailNotificationSetting": {"emails": ["a@b.co"], "emailOn": ["JobFailed"]},
                },
            },
            "actionType": "CreateMonitor",
        },
        "trigger": {
            "frequency": "day",
            "interval": 1,
            "schedule": {"hours": [3], "minutes": [15]},
            "timeZone": "UTC",
            "triggerType": "Recurrence",
        },
    }
}
JOB_SCHEDULE: dict[str, Any] = {
    "properties": {
        "action": {
            "actionType": "CreateJob",
            "jobDefinition": {
                "jobType": "Command",
                "command": "echo ran",
                "environmentId": f"{W}/environments/e/versions/1",
            },
        },
        "trigger": {"triggerType": "Cron", "expression": "0 3 * * *"},
    }
}
ASSET: dict[str, Any] = {"isAnonymous": False, "isArchived": False, "tags": {}, "properties": {}}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("jobs", "2025-01-01-preview"): JOB,
    ("onlineEndpoints", "2022-02-01-preview"): ENDPOINT,
    ("deployments", "2023-04-01-preview"): DEPLOYMENT,
    ("schedules", "2023-06-01-preview"): MONITOR,
    ("codes", "2023-04-01"): {
        "properties": {"codeUri": "https://a/b", "isAnonymous": True, "properties": {"hash_version": 202208}}
    },
    ("environments", "2023-04-01-preview"): {
        "properties": {
            **ASSET,
            "image": "i",
            "inferenceConfig": {
                "livenessRoute": {"port": 8080, "path": "/livez"},
                "readinessRoute": {"port": 8080, "path": "/readyz"},
                "scoringRoute": {"port": 8080, "path": "/invocations"},
            },
        }
    },
    ("data", "2023-04-01-preview"): {"properties": {**ASSET, "dataUri": "azureml://x", "dataType": "uri_file"}},
    ("models", "2023-08-01-preview"): {
        "properties": {**ASSET, "modelType": "custom_model", "modelUri": "azureml://x", "stage": "Production"}
    },
    ("pendingUpload", "2023-04-01"): {"pendingUploadType": "TemporaryBlobReference"},
    ("regenerateKeys", "2022-02-01-preview"): {"keyType": "Primary", "keyValue": "k"},
    ("getLogs", "2023-04-01-preview"): {"containerType": "InferenceServer", "tail": 10},
}
