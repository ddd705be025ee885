"""A cloud of operations, like Vertex AI: server-made ids, and work that shows nowhere but in its operation."""

from __future__ import annotations

from collections.abc import Iterable

from cloudml.testing.cloud import Cloud
from cloudml.testing.world import NativeError, Row

JOB = ("RUNNING", "SUCCEEDED", "FAILED")
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


class OperationsCloud(Cloud):
    """A resource shows nothing of what is being done to it; an error stands in the operation alone."""

    def CreateCustomJob(self, ask: Row) -> Row:
        name = f"customJobs/{self.world.serial('jobs')}"
        self.new("jobs", name, {**ask, "status": "PENDING"})
        self.run("jobs", name, JOB)
        return {"name": name}

    def CancelCustomJob(self, ask: Row) -> None:
        job = self.row("jobs", ask["name"])
        self.refuse(job["status"] in (*ENDED, "CANCELLING"), "the job is not running")
        self.world.forget("jobs", job["name"])
        self.world.forget("artifacts", job["output"])
        job["status"] = "CANCELLING"
        self.world.later(2, "jobs", job["name"], {"status": "CANCELLED"})

    def DeleteCustomJob(self, ask: Row) -> Row:
        self.refuse(self.row("jobs", ask["name"])["status"] not in ENDED, "the job has not ended")
        return self._operation(ask["name"], 1, [("jobs", ask["name"], None)])

    def UploadModel(self, ask: Row) -> Row:
        """The version's number is given when the upload begins, and seen when it ends."""
        model = ask["model"]
        if ask["parentModel"]:
            self.row("models", model)
        elif model in self.world.rows("models"):
            raise NativeError(409, "Taken", f"model {model} exists")
        why = self.missing(ask["artifactUri"])
        if why:
            return self._operation(model, 3, [], why)
        number = self.world.serial(f"models/{model}")
        row = {"parent": model, "uri": ask["artifactUri"], "hash": ask["hash"], "aliases": []}
        changes: list[tuple[str, str, Row | None]] = [("versions", f"{model}@{number}", row)]
        if not ask["parentModel"]:
            changes.append(("models", model, {"labels": ask["labels"]}))
        return self._operation(model, 3, changes)

    def UpdateModel(self, ask: Row) -> None:
        self.row("models", ask["model"])["labels"].update(ask["labels"])

    def MergeVersionAliases(self, ask: Row) -> None:
        """An alias is on one version of a model: it moves."""
        chosen = self.row("versions", f"{ask['model']}@{ask['version']}")
        for row in self.world.rows("versions").values():
            if row["parent"] == ask["model"]:
                row["aliases"] = [alias for alias in row["aliases"] if alias not in ask["aliases"]]
        chosen["aliases"] += ask["aliases"]

    def UpdateModelVersion(self, ask: Row) -> None:
        self.row("versions", ask["name"])["archived"] = ask["archived"]

    def DeleteModelVersion(self, ask: Row) -> Row:
        self.row("versions", ask["name"])
        return self._operation(ask["name"].partition("@")[0], 1, [("versions", ask["name"], None)])

    def DeleteModel(self, ask: Row) -> Row:
        """Takes its versions with it."""
        self.row("models", ask["model"])
        versions = [row["name"] for row in self.world.rows("versions").values() if row["parent"] == ask["model"]]
        changes: list[tuple[str, str, Row | None]] = [("versions", name, None) for name in versions]
        return self._operation(ask["model"], 2, [*changes, ("models", ask["model"], None)])

    def CreateEndpoint(self, ask: Row) -> Row:
        name = ask["endpointId"]
        if name in self.world.rows("endpoints") or self._running(name):
            raise NativeError(409, "Taken", f"endpoint {name} exists")
        row = {"labels": ask["labels"], "deployed": {}, "traffic": {}, "capture": 0.0, "leaving": None,
               "created": self.world.time}  # fmt: skip
        return self._operation(name, 3, [("endpoints", name, row)], "the service failed" if self.world.doom else None)

    def UpdateEndpoint(self, ask: Row) -> None:
        endpoint = self.row("endpoints", ask["endpoint"])
        if unknown := sorted(set(ask["trafficSplit"]) - set(endpoint["deployed"])):
            raise NativeError(404, "Missing", f"no deployed model {unknown[0]} can take traffic")
        self.refuse(endpoint["leaving"] in ask["trafficSplit"], "that deployed model is being undeployed")
        if ask["trafficSplit"] and sum(ask["trafficSplit"].values()) != 100:
            raise NativeError(400, "Malformed", "the traffic split must sum to 100")
        endpoint |= {"labels": ask["labels"], "traffic": ask["trafficSplit"], "capture": ask["capture"]}

    def DeployModel(self, ask: Row) -> Row:
        endpoint, chosen = self.row("endpoints", ask["endpoint"]), ask["deployedModel"]
        self.refuse(bool(self._running(ask["endpoint"])), "another operation runs on the endpoint")
        if chosen["id"] in endpoint["deployed"]:
            raise NativeError(409, "Taken", f"deployed model {chosen['id']} exists")
        good = self.world.doom is None and self.loads(self.row("versions", chosen["model"])["uri"])
        after = {"deployed": {**endpoint["deployed"], chosen["id"]: chosen}}
        why = None if good else "the model server exited before it was ready"
        return self._operation(endpoint["name"], 5, [("endpoints", endpoint["name"], after)], why)

    def UndeployModel(self, ask: Row) -> Row:
        endpoint = self.row("endpoints", ask["endpoint"])
        self.refuse(bool(self._running(ask["endpoint"])), "another operation runs on the endpoint")
        self.refuse(ask["deployedModelId"] in endpoint["traffic"], "the deployed model has traffic")
        if ask["deployedModelId"] not in endpoint["deployed"]:
            raise NativeError(404, "Missing", f"there is no deployed model {ask['deployedModelId']}")
        rest = {number: row for number, row in endpoint["deployed"].items() if number != ask["deployedModelId"]}
        endpoint["leaving"] = ask["deployedModelId"]
        after = {"deployed": rest, "leaving": None}
        return self._operation(endpoint["name"], 2, [("endpoints", endpoint["name"], after)])

    def DeleteEndpoint(self, ask: Row) -> Row:
        endpoint = self.row("endpoints", ask["endpoint"])
        self.refuse(bool(endpoint["deployed"]) or bool(self._running(ask["endpoint"])), "it has deployed models")
        return self._operation(endpoint["name"], 2, [("endpoints", endpoint["name"], None)])

    def _running(self, target: str) -> list[Row]:
        return [row for row in self.world.rows("operations").values() if row["target"] == target and not row["done"]]

    def _operation(
        self, target: str, seconds: float, changes: Iterable[tuple[str, str, Row | None]], error: str | None = None
    ) -> Row:
        """Starts work that ends with those changes, or with an error and none of them."""
        name = f"operations/{self.world.serial('operations')}"
        self.new("operations", name, {"target": target, "done": False, "error": None})
        for table, row, change in () if error else changes:
            self.world.later(seconds, table, row, change, make=change is not None and "deployed" not in table)
        self.world.later(seconds, "operations", name, {"done": True, "error": error})
        return {"operation": name}
