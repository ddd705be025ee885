"""Versions, labels, tags, stages and archives; schedules of jobs and of monitors. Microsoft's SDK alone."""

import os
import tempfile
import time
import uuid
from pathlib import Path

os.environ["AZURE_ML_CLI_PRIVATE_FEATURES_ENABLED"] = "true"  # without it, SDK 1.35.2 takes only pipelines in schedules

from azure.ai.ml import Input, MLClient, command
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import (
    AlertNotification,
    CronTrigger,
    Data,
    DataDriftMetricThreshold,
    DataDriftSignal,
    Environment,
    JobSchedule,
    Model,
    MonitorDefinition,
    MonitoringTarget,
    MonitorSchedule,
    NumericalDriftMetrics,
    ProductionData,
    RecurrencePattern,
    RecurrenceTrigger,
    ReferenceData,
    ServerlessSparkCompute,
)
from azure.identity import DefaultAzureCredential

folder, nonce = Path(tempfile.mkdtemp()), uuid.uuid4().hex
(folder / "data").mkdir()
(folder / "data" / "rows.csv").write_text(nonce)
ml_client = MLClient(DefaultAzureCredential(), os.environ["AZURE_SUBSCRIPTION_ID"], "cloudml", "cloudml")

data = Data(name="rows", path=str(folder / "data"), type=AssetTypes.URI_FOLDER, description="rows")
first, second = ml_client.data.create_or_update(data), ml_client.data.create_or_update(data)
assert (first.version, second.version) == ("1", "2"), (first.version, second.version)
assert ml_client.data.get("rows", label="latest").version == "2"
assert [each.version for each in ml_client.data.list("rows")] == ["2", "1"]

for version in ("1", "2"):
    ml_client.models.create_or_update(Model(name="m", version=version, path=str(folder / "data"), tags={"v": version}))
model = ml_client.models.get("m", "1")
model.tags, model.stage = {"v": "one"}, "Production"
ml_client.models.create_or_update(model)
assert ml_client.models.get("m", "1").tags == {"v": "one"}
assert [each.version for each in ml_client.models.list("m", stage="Production")] == ["1"]
ml_client.models.archive("m", version="2")
assert [each.version for each in ml_client.models.list("m")] == ["1"]
ml_client.models.restore("m", version="2")
assert len([*ml_client.models.list("m")]) == 2
assert ml_client.models.get("m", label="latest").version == "2"

conda = {"name": "x", "dependencies": ["python=3.11"]}
environment = ml_client.environments.create_or_update(Environment(name="conda", image="python:3.11", conda_file=conda))
assert environment.version == "1"
assert [each.name for each in ml_client.environments.list()] == ["conda"]

job = command(
    command="cat ${{inputs.rows}}/rows.csv",
    inputs={"rows": Input(type=AssetTypes.URI_FOLDER, path="azureml:rows:2")},
    environment="conda@latest",
    compute="cpu-cluster",
    experiment_name="nightly",
)
pattern = RecurrencePattern(hours=3, minutes=[15])
trigger = RecurrenceTrigger(frequency="day", interval=1, schedule=pattern, time_zone="UTC")
nightly = JobSchedule(name="nightly", trigger=trigger, create_job=job)
ml_client.schedules.begin_create_or_update(nightly).result()
assert [each.name for each in ml_client.schedules.list()] == ["nightly"]
run = ml_client.schedules.trigger("nightly").job_name
while (finished := ml_client.jobs.get(run)).status not in ("Completed", "Failed", "Canceled"):
    time.sleep(0.2)
assert finished.status == "Completed", finished.status
ml_client.jobs.download(run, download_path=folder / "run", all=True)
assert nonce in (folder / "run/artifacts/user_logs/std_log.txt").read_text()

ml_client.schedules.begin_disable("nightly").result()
assert [each.name for each in ml_client.schedules.list()] == []
ml_client.schedules.begin_enable("nightly").result()

drift = DataDriftSignal(
    production_data=ProductionData(
        input_data=Input(type=AssetTypes.URI_FOLDER, path="azureml:rows:2"), data_context="model_inputs"
    ),
    reference_data=ReferenceData(
        input_data=Input(type=AssetTypes.URI_FOLDER, path="azureml:rows:1"), data_context="training"
    ),
    metric_thresholds=DataDriftMetricThreshold(numerical=NumericalDriftMetrics(jensen_shannon_distance=0.01)),
)
monitor = MonitorSchedule(
    name="watch",
    trigger=CronTrigger(expression="15 3 * * *"),
    create_monitor=MonitorDefinition(
        compute=ServerlessSparkCompute(instance_type="standard_e4s_v3", runtime_version="3.4"),
        monitoring_target=MonitoringTarget(ml_task="classification", model_id="azureml:m:1"),
        monitoring_signals={"drift": drift},
        alert_notification=AlertNotification(emails=["somebody@example.com"]),
    ),
)
ml_client.schedules.begin_create_or_update(monitor).result()
assert ml_client.schedules.get("watch").create_monitor.monitoring_signals["drift"]
for name in ("watch", "nightly"):
    ml_client.schedules.begin_disable(name).result()
    ml_client.schedules.begin_delete(name).result()
print("scheduled", nonce)
