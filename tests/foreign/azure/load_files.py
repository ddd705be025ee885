"""What the SDK makes of files in the YAML form: each is loaded as `az ml … -f FILE` does, and printed as it was."""

import json
import sys
from pathlib import Path

from azure.ai.ml import load_environment, load_job, load_model, load_online_deployment, load_online_endpoint
from azure.ai.ml.entities._load_functions import load_schedule

LOADERS = {
    "environment": load_environment,
    "job": load_job,
    "model": load_model,
    "online-endpoint": load_online_endpoint,
    "online-deployment": load_online_deployment,
    "schedule": load_schedule,
}
found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    kind = path.read_text().splitlines()[0].removeprefix("# az ml ").split()[0]
    loaded = LOADERS[kind](path)
    whole = loaded._to_job() if kind == "job" else loaded  # a job by itself, not a step of a pipeline
    found[path.name] = whole._to_dict()
print(json.dumps(found, default=str))
