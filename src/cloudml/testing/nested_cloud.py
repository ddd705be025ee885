"""A cloud of parents and children by PUT, like Azure ML: provisioning states, traffic apart, failed children stay."""

from __future__ import annotations

from collections.abc import Callable

from cloudml.testing.cloud import Cloud
from cloudml.testing.world import NativeError, Row

JOB = ("Running", "Completed", "Failed")
SETTLED = ("Succeeded", "Failed")


class NestedCloud(Cloud):
    """An operation is ``VERB collection/name[/children/name]``, its document the body."""

    def perform(self, operation: str, document: Row) -> Row | None:
        verb, _, path = operation.partition(" ")
        names = path.split("/")
        collection = names[2] if len(names) > 3 else names[0]
        carry_out: Callable[[str, Row], None] = getattr(self, f"{verb.lower()}_{collection}")
        carry_out("/".join(names[1::2]), document)
        return None

    def put_jobs(self, name: str, body: Row) -> None:
        self.new("jobs", name, {**body, "status": "NotStarted"})
        self.run("jobs", name, JOB)

    def cancel_jobs(self, name: str, body: Row) -> None:
        job = self.row("jobs", name)
        self.refuse(job["status"] not in ("NotStarted", "Running"), "the job is not running")
        self.world.forget("jobs", name)
        self.world.forget("artifacts", job["output"])
        job["status"] = "CancelRequested"
        self.world.later(2, "jobs", name, {"status": "Canceled"})

    def delete_jobs(self, name: str, body: Row) -> None:
        ended = self.row("jobs", name)["status"] in ("Completed", "Failed", "Canceled")
        self.refuse(not ended, "the job has not ended")
        self.world.rows("jobs").pop(name)

    def put_models(self, name: str, body: Row) -> None:
        self.world.rows("models").setdefault(name, {"name": name, "created": self.world.time}).update(body)

    def delete_models(self, name: str, body: Row) -> None:
        self.refuse(bool(self._children("versions", self.row("models", name)["name"])), "the container has versions")
        self.world.rows("models").pop(name)

    def put_versions(self, name: str, body: Row) -> None:
        """A version is immutable but for its being archived: the same content is nothing new, another is refused."""
        parent = self.row("models", name.partition("/")[0])
        there = self.world.rows("versions").get(name)
        if there and there["state"] != "Failed" and (there["uri"], there["hash"]) == (body["uri"], body["hash"]):
            there |= {name: body[name] for name in ("archived",) if name in body}
            return
        why = self.missing(body["uri"])
        self.new("versions", name, {**body, "parent": parent["name"], "state": "Creating"})
        parent["last"] = max(parent.get("last", 0), int(name.partition("/")[2]))
        self.world.later(3, "versions", name, {"state": "Failed" if why else "Succeeded", "reason": why})

    def delete_versions(self, name: str, body: Row) -> None:
        self.world.rows("versions").pop(self.row("versions", name)["name"])

    def put_onlineEndpoints(self, name: str, body: Row) -> None:
        children = self._children("deployments", name)
        self.refuse(any(child["state"] not in SETTLED for child in children), "a deployment is busy")
        there = self.world.rows("endpoints").get(name)
        self.refuse(bool(there and there["state"] not in SETTLED), "the endpoint is busy")
        names = {child["name"].partition("/")[2] for child in children if child["state"] == "Succeeded"}
        if unknown := sorted(set(body["traffic"]) - names):
            raise NativeError(404, "Missing", f"there is no deployment {unknown[0]} to take traffic")
        if body["traffic"] and sum(body["traffic"].values()) != 100:
            raise NativeError(400, "Malformed", "traffic must sum to 100")
        fresh = {"name": name, "created": self.world.time, "traffic": {}, "labels": body["labels"]}
        started = self.world.rows("endpoints").setdefault(name, fresh)
        failed = self.world.doom is not None
        started["state"] = "Updating" if there else "Creating"
        after = (
            {"state": "Failed", "reason": "the service failed"}
            if failed
            else {**body, "state": "Succeeded", "reason": None}
        )
        self.world.later(3, "endpoints", name, after)

    def delete_onlineEndpoints(self, name: str, body: Row) -> None:
        """A parent takes its children with it."""
        endpoint, children = self.row("endpoints", name), self._children("deployments", name)
        self.refuse(any(each["state"] not in SETTLED for each in [endpoint, *children]), "it is busy")
        endpoint["state"] = "Deleting"
        self.world.later(3, "endpoints", name, None)
        for child in children:
            child["state"] = "Deleting"
            self.world.later(3, "deployments", child["name"], None)

    def put_deployments(self, name: str, body: Row) -> None:
        parent = self._free_parent(name)
        there = self.world.rows("deployments").get(name)
        self.refuse(bool(there and there["state"] not in SETTLED), "the deployment is busy")
        uri = self.row("versions", body["model"])["uri"]
        row = {"name": name, "created": self.world.time, "parent": parent["name"], **body, "state": "Creating"}
        self.world.rows("deployments")[name] = row
        good = self.world.doom is None and self.loads(uri)
        after = {"state": "Succeeded"} if good else {"state": "Failed", "reason": "the container crashed"}
        self.world.later(5, "deployments", name, after)

    def delete_deployments(self, name: str, body: Row) -> None:
        child, parent = self.row("deployments", name), self._free_parent(name)
        self.refuse(child["state"] not in SETTLED, "the deployment is busy")
        self.refuse(bool(parent["traffic"].get(name.partition("/")[2])), "the deployment has traffic")
        child["state"] = "Deleting"
        self.world.later(2, "deployments", name, None)

    def _free_parent(self, child: str) -> Row:
        parent = self.row("endpoints", child.partition("/")[0])
        self.refuse(parent["state"] not in SETTLED, "the endpoint is busy")
        return parent

    def _children(self, table: str, parent: str) -> list[Row]:
        return [row for row in self.world.rows(table).values() if row["parent"] == parent]
