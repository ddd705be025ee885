"""A cloud of chosen names, like SageMaker: immutable models and configurations, and an endpoint that names one."""

from __future__ import annotations

from cloudml.testing.cloud import Cloud
from cloudml.testing.world import NativeError, Row

JOB = ("InProgress", "Completed", "Failed")


def initial_weights(variants: list[str]) -> dict[str, float]:
    """A configuration carries no weights of ours: its first variant takes all, until weights are set apart."""
    return {name: float(name == min(variants)) for name in variants}


def weights_after(before: dict[str, float], variants: list[str]) -> dict[str, float]:
    """An update keeps the weights of the variants that stay."""
    if not before:
        return initial_weights(variants)
    return {name: before.get(name, initial_weights(variants)[name]) for name in variants}


class NamedCloud(Cloud):
    """One method per write, named as the cloud's own operation."""

    def CreateTrainingJob(self, ask: Row) -> None:
        name = ask.pop("TrainingJobName")
        self.new("jobs", name, {**ask, "status": "Pending"})
        self.run("jobs", name, JOB)

    def StopTrainingJob(self, ask: Row) -> None:
        job = self.row("jobs", ask["TrainingJobName"])
        self.refuse(job["status"] not in ("Pending", "InProgress"), "the job is not running")
        self.world.forget("jobs", job["name"])
        self.world.forget("artifacts", job["output"])
        job["status"] = "Stopping"
        self.world.later(2, "jobs", job["name"], {"status": "Stopped"})

    def DeleteTrainingJob(self, ask: Row) -> None:
        job = self.row("jobs", ask["TrainingJobName"])
        self.refuse(job["status"] not in ("Completed", "Failed", "Stopped"), "the job has not ended")
        self.world.rows("jobs").pop(job["name"])

    def CreateModelPackageGroup(self, ask: Row) -> None:
        self.new("groups", ask["ModelPackageGroupName"], {"labels": ask["Tags"], "last": 0})

    def CreateModelPackage(self, ask: Row) -> Row:
        group = self.row("groups", ask["ModelPackageGroupName"])
        group["last"] += 1
        name = f"{group['name']}/{group['last']}"
        why = self.missing(ask["ModelDataUrl"])
        metadata = ask["CustomerMetadataProperties"]
        self.new(
            "packages", name, {"group": group["name"], "uri": ask["ModelDataUrl"], "status": "Pending", **metadata}
        )
        self.world.later(3, "packages", name, {"status": "Failed" if why else "Completed", "reason": why})
        return {"version": str(group["last"])}

    def UpdateModelPackage(self, ask: Row) -> None:
        self.row("packages", ask["ModelPackageName"]).update(ask["CustomerMetadataProperties"])

    def DeleteModelPackage(self, ask: Row) -> None:
        self.world.rows("packages").pop(self.row("packages", ask["ModelPackageName"])["name"])

    def DeleteModelPackageGroup(self, ask: Row) -> None:
        group = self.row("groups", ask["ModelPackageGroupName"])
        packages = self.world.rows("packages").values()
        self.refuse(any(each["group"] == group["name"] for each in packages), "the group has packages")
        self.world.rows("groups").pop(group["name"])

    def AddTags(self, ask: Row) -> None:
        table, _, name = ask["ResourceArn"].partition("/")
        self.row(table, name)["labels"].update(ask["Tags"])

    def CreateModel(self, ask: Row) -> None:
        package = self.row("packages", ask["ModelPackageName"])
        row = {"uri": package["uri"], "hash": ask["hash"], "labels": ask["Tags"]}
        self.new("models", ask["ModelName"], row)

    def DeleteModel(self, ask: Row) -> None:
        self.world.rows("models").pop(self.row("models", ask["ModelName"])["name"])

    def CreateEndpointConfig(self, ask: Row) -> None:
        for model in ask["ProductionVariants"].values():
            self.row("models", model)
        row = {"variants": ask["ProductionVariants"], "capture": ask["DataCapture"], "labels": ask["Tags"]}
        self.new("configs", ask["EndpointConfigName"], row)

    def DeleteEndpointConfig(self, ask: Row) -> None:
        """The real one lets a configuration in use be deleted, and warns of it; here that would be a mistake."""
        config = self.row("configs", ask["EndpointConfigName"])
        used = [
            each for each in self.world.rows("endpoints").values() if config["name"] in (each["config"], each["next"])
        ]
        self.refuse(bool(used), "an endpoint uses the configuration")
        self.world.rows("configs").pop(config["name"])

    def CreateEndpoint(self, ask: Row) -> None:
        name, config = ask["EndpointName"], self.row("configs", ask["EndpointConfigName"])
        row = {"config": config["name"], "next": None, "status": "Creating", "weights": {}, "labels": ask["Tags"]}
        self.new("endpoints", name, row)
        if self._bad(config):
            return self.world.later(5, "endpoints", name, {"status": "Failed", "reason": "did not pass the ping check"})
        weights = initial_weights(list(config["variants"]))
        self.world.later(5, "endpoints", name, {"status": "InService", "weights": weights})

    def UpdateEndpoint(self, ask: Row) -> None:
        """A bad update is rolled back silently: the endpoint is in service again, on the old configuration."""
        endpoint, config = self._in_service(ask), self.row("configs", ask["EndpointConfigName"])
        endpoint |= {"status": "Updating", "next": config["name"]}
        after: Row = {"status": "InService", "next": None}
        if not self._bad(config):
            after |= {"config": config["name"], "weights": weights_after(endpoint["weights"], list(config["variants"]))}
        self.world.later(5, "endpoints", endpoint["name"], after)

    def UpdateEndpointWeightsAndCapacities(self, ask: Row) -> None:
        endpoint = self._in_service(ask)
        weights = ask["DesiredWeights"]
        if set(weights) != set(endpoint["weights"]):
            raise NativeError(400, "Malformed", f"weights name {sorted(weights)}, not {sorted(endpoint['weights'])}")
        endpoint["status"] = "Updating"
        self.world.later(2, "endpoints", endpoint["name"], {"status": "InService", "weights": weights})

    def DeleteEndpoint(self, ask: Row) -> None:
        endpoint = self.row("endpoints", ask["EndpointName"])
        self.refuse(endpoint["status"] in ("Creating", "Updating"), "the endpoint is busy")
        endpoint["status"] = "Deleting"
        self.world.later(3, "endpoints", endpoint["name"], None)

    def CreateMonitoringSchedule(self, ask: Row) -> None:
        name = ask.pop("MonitoringScheduleName")
        self.new("schedules", name, {"definition": ask["Definition"], "labels": ask["Tags"], "status": "Pending"})
        self.world.later(2, "schedules", name, {"status": "Scheduled"})

    def UpdateMonitoringSchedule(self, ask: Row) -> None:
        row = self.row("schedules", ask["MonitoringScheduleName"])
        row |= {"definition": ask["Definition"], "status": "Pending"}
        self.world.later(2, "schedules", row["name"], {"status": "Scheduled"})

    def DeleteMonitoringSchedule(self, ask: Row) -> None:
        self.world.rows("schedules").pop(self.row("schedules", ask["MonitoringScheduleName"])["name"])

    def _in_service(self, ask: Row) -> Row:
        endpoint = self.row("endpoints", ask["EndpointName"])
        self.refuse(endpoint["status"] != "InService", f"the endpoint is {endpoint['status']}")
        return endpoint

    def _bad(self, config: Row) -> bool:
        models = self.world.rows("models")
        return self.world.doom is not None or not all(
            self.loads(models[model]["uri"]) for model in config["variants"].values()
        )
