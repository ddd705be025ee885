"""Model families as package groups, their versions as packages; an alias is one tag of the group."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloudml import specs
from cloudml.content import MANIFEST
from cloudml.errors import NotFound
from cloudml.spi import Call, Caller, Effect, Goal, Later, Operation, Repeat, patched
from cloudml.states import EMPTY, Failure, Key, Part, Phase, State
from cloudml_sagemaker import limits
from cloudml_sagemaker.account import Account
from cloudml_sagemaker.artifacts import S3Artifacts, split
from cloudml_sagemaker.options import NAME
from cloudml_sagemaker.tags import ID, KIND, STACK, Tags, add_tags, base, lacks, pages, tags

PHASES = {
    "Pending": Phase.CREATING,
    "InProgress": Phase.CREATING,
    "Completed": Phase.READY,
    "Failed": Phase.FAILED,
    "Deleting": Phase.DELETING,
}
GROUP_PHASES = PHASES | {"DeleteFailed": Phase.READY}
APPROVALS = {"approved": "Approved", "rejected": "Rejected", "pending": "PendingManualApproval"}
NEUTRAL = {native: neutral for neutral, native in APPROVALS.items()}
ARCHIVED = {"Stage": "Archived", "StageStatus": "Archived"}
ACTIVE = {"Stage": "Registered", "StageStatus": "Active"}
ALIAS = "cloudml-alias-"
# What a package says of itself; a package of a group takes no tags.
SPEC, DIGEST, RUN = "cloudml-hash", "cloudml-digest", "cloudml-run"
CONTENT_TYPES = ("application/json", "text/csv", "application/jsonlines")
Described = Mapping[str, Any]


class ModelPackages:
    """A version's hash, digest and run are in its CustomerMetadataProperties, which never change."""

    def __init__(self, account: Account, tags: Tags, artifacts: S3Artifacts, caller: Caller) -> None:
        self._account = account
        self._tags = tags
        self._artifacts = artifacts
        self._call = caller
        self._known: dict[str, Described] = {}

    def observe(self, key: Key, want: specs.Model | None) -> State | None:
        group = self._call.find("DescribeModelPackageGroup", lambda: self._group(key.name))
        if group is None:
            return None
        digest = self._digest(want, key.stack) if want else None
        return self._state(key, group, {"digest": digest} if digest else EMPTY)

    def render(self, goal: Goal[specs.Model], have: State | None) -> Sequence[Call]:
        if goal.version:
            return [_turned(part, goal.version.phase) for part in goal.version.differing(have)]
        if goal.want is not None:
            return [*self._family(goal, goal.want, have), *self._version(goal, goal.want, have)]
        if goal.cancel or have is None or have.phase is Phase.DELETING:
            return []
        packages = [_delete(part, "its family is not wanted") for part in have.of("version")]
        group = {"ModelPackageGroupName": goal.key.name}
        return [*packages, Call("DeleteModelPackageGroup", goal.key.name, group, "it is not wanted", Effect.DELETE)]

    def send(self, call: Call) -> Operation | None:
        if call.operation == "CreateModelPackage" and (missing := self._missing(call.document)):
            return Operation(call.fingerprint(), call.target, running=False, error=Failure(missing))
        sagemaker = self._account.clients["sagemaker"]
        operations = {
            "CreateModelPackageGroup": sagemaker.create_model_package_group,
            "CreateModelPackage": sagemaker.create_model_package,
            "UpdateModelPackage": sagemaker.update_model_package,
            "DeleteModelPackage": sagemaker.delete_model_package,
            "DeleteModelPackageGroup": sagemaker.delete_model_package_group,
            "AddTags": sagemaker.add_tags,
        }
        self._call.write(call.operation, lambda: operations[call.operation](**call.document))
        return None

    def poll(self, operation: Operation) -> Operation:
        raise NotFound(f"SageMaker's registry has no operations: {operation.id}")

    def list(self, stack: str | None) -> Iterator[State]:
        sagemaker = self._account.clients["sagemaker"]
        groups = self._call.read(
            "ListModelPackageGroups",
            lambda: [*pages(sagemaker, "list_model_package_groups", "ModelPackageGroupSummaryList", MaxResults=100)],
        )
        for group in groups:
            labels = self._tags.of(group["ModelPackageGroupArn"])
            if labels.get(KIND) == "model" and STACK in labels and stack in (None, labels[STACK]):
                yield self._state(Key("model", group["ModelPackageGroupName"], labels[STACK]), group, EMPTY)

    # -- the way to what is wanted -----------------------------------------------------------------------------------

    def _family(self, goal: Goal[specs.Model], want: specs.Model, have: State | None) -> Iterator[Call]:
        labels = {**want.labels, **base(goal.labels)}
        if have is None:
            limits.check_name(goal.key.name, str(goal.key))
            document = {"ModelPackageGroupName": goal.key.name, "Tags": tags(labels, str(goal.key))}
            yield Call("CreateModelPackageGroup", goal.key.name, document, "there is no such family")
        elif lacks(have.labels, labels):
            yield add_tags(_arn(have), goal.key.name, labels, "its owner or its labels differ")

    def _version(self, goal: Goal[specs.Model], want: specs.Model, have: State | None) -> Iterator[Call]:
        spec = specs.spec_hash(want)
        same = [part for part in have.of("version") if part.spec == spec] if have else []
        version = next((part for part in same if not part.phase.failed), None)
        for part in same:
            if part is not version:
                yield _delete(part, "it failed, or a second process made it")
        if version is None:
            document = patched(self._document(goal, want, have, spec), want, NAME)
            why = f"no version has hash {spec}"
            yield Call("CreateModelPackage", goal.key.name, document, why, repeat=Repeat.GUARDED)
        elif want.approval and version.facts["approval"] != want.approval:
            change = {"ModelPackageArn": version.id, "ModelApprovalStatus": APPROVALS[want.approval]}
            yield Call("UpdateModelPackage", version.id, change, f"it is {version.facts['approval']}", Effect.UPDATE)
        if want.alias and (version is None or want.alias not in version.facts["aliases"]):
            at = {ALIAS + want.alias: version.name if version else Later("version")}
            yield add_tags(_arn(have) if have else Later("arn"), goal.key.name, at, f"{want.alias} is elsewhere")

    def _document(self, goal: Goal[specs.Model], want: specs.Model, have: State | None, spec: str) -> dict[str, Any]:
        digest = have.facts.get("digest") if have else None
        said = {SPEC: spec, DIGEST: digest or Later("digest")}
        if want.from_:
            said[RUN] = want.from_.removeprefix("run:")
        container = {"Image": self._account.image, **data(self._origin(want, goal.key.stack))}
        approval = APPROVALS[want.approval] if want.approval else None
        return {
            "ModelPackageGroupName": goal.key.name,
            **({"ModelPackageDescription": want.description} if want.description else {}),
            "InferenceSpecification": {
                "Containers": [container],
                "SupportedContentTypes": list(CONTENT_TYPES),
                "SupportedResponseMIMETypes": list(CONTENT_TYPES[:2]),
            },
            **({"ModelApprovalStatus": approval} if approval else {}),
            "CustomerMetadataProperties": said,
        }

    def _origin(self, want: specs.Model, stack: str) -> str:
        """Where the files of a version are: what a run wrote, content, or a URI. A folder ends with a slash."""
        if want.from_ is not None:
            return self._account.uri(f"{stack}/runs/{want.from_.removeprefix('run:')}/output/model/")
        uri = self._account.place(stack, want.path or "")
        planned = (want.path or "").startswith("sha256:")
        return uri if uri.endswith("/") or not planned else uri.rpartition("/")[0] + "/"  # the folder of a file

    def _digest(self, want: specs.Model, stack: str) -> str | None:
        """The digest of a version's files: its manifest's, else that of content, which its address tells.

        None if nothing is there; ``unknown`` for files that nobody has looked into.
        """
        uri = self._origin(want, stack)
        if uri.endswith(ARCHIVE):
            return UNKNOWN
        found = self._call.find("GetObject", lambda: self._artifacts.open(f"{uri.rstrip('/')}/{MANIFEST}"))
        if found is not None:
            return str(json.load(found).get("digest", UNKNOWN))
        if want.from_ is not None or not self._held(uri):
            return None
        return _addressed(want.path or "")

    def _held(self, uri: str) -> bool:
        bucket, prefix = split(uri)
        return bucket != self._account.bucket or bool(self._artifacts.names(prefix))

    def _missing(self, document: Mapping[str, Any]) -> str | None:
        """Why a version cannot be made: SageMaker would take one whose files are not there."""
        container = document["InferenceSpecification"]["Containers"][0]
        source = container.get("ModelDataSource", {}).get("S3DataSource", {})
        uri = str(container.get("ModelDataUrl") or source.get("S3Uri"))
        return None if self._held(uri) else f"there is nothing at {uri}"

    # -- what there is -----------------------------------------------------------------------------------------------

    def _state(self, key: Key, group: Mapping[str, Any], more: Mapping[str, Any]) -> State:
        labels = self._tags.of(group["ModelPackageGroupArn"])
        aliases = {tag.removeprefix(ALIAS): number for tag, number in labels.items() if tag.startswith(ALIAS)}
        versions = [self._part(summary, aliases) for summary in self._packages(key.name)]
        phase = GROUP_PHASES.get(group["ModelPackageGroupStatus"], Phase.UNKNOWN)
        return State(
            key=key,
            phase=Phase.EMPTY if phase is Phase.READY and not versions else phase,
            owner=labels.get(STACK) if labels.get(ID) == key.name else None,
            id=group["ModelPackageGroupName"],
            parts=tuple(sorted(versions, key=lambda part: int(part.name))),
            labels=labels,
            facts={"aliases": aliases, **more},
            created=group["CreationTime"].timestamp(),
            native=group,
        )

    def _packages(self, family: str) -> Sequence[Mapping[str, Any]]:
        sagemaker = self._account.clients["sagemaker"]
        asked = {"ModelPackageGroupName": family, "MaxResults": 100}
        return self._call.read(
            "ListModelPackages", lambda: [*pages(sagemaker, "list_model_packages", "ModelPackageSummaryList", **asked)]
        )

    def _part(self, summary: Mapping[str, Any], aliases: Mapping[str, str]) -> Part:
        arn, number = summary["ModelPackageArn"], str(summary["ModelPackageVersion"])
        package = self._described(arn, summary["ModelPackageStatus"])
        said = package.get("CustomerMetadataProperties", {})
        phase = PHASES.get(summary["ModelPackageStatus"], Phase.UNKNOWN)
        archived = summary.get("ModelLifeCycle", {}).get("Stage") == ARCHIVED["Stage"]
        digest = said.get(DIGEST)
        facts = {
            "uri": _uri(package),
            "aliases": tuple(sorted(alias for alias, at in aliases.items() if at == number)),
            "approval": NEUTRAL.get(summary.get("ModelApprovalStatus", "")),
            "run": said.get(RUN),
            "digest": None if digest == UNKNOWN else digest,
            "description": package.get("ModelPackageDescription", ""),
            "created": summary["CreationTime"].timestamp(),
        }
        shown = Phase.ARCHIVED if archived and phase is Phase.READY else phase
        return Part("version", number, arn, shown, said.get(SPEC), _failure(package, phase), facts)

    def _described(self, arn: str, status: str) -> Described:
        """A package; one that is done is asked for once, because what is read here never changes after."""
        if arn not in self._known:
            sagemaker = self._account.clients["sagemaker"]
            found = self._call.find(
                "DescribeModelPackage", lambda: sagemaker.describe_model_package(ModelPackageName=arn)
            )
            if status != "Completed" or found is None:
                return found or EMPTY
            self._known[arn] = found
        return self._known[arn]

    def _group(self, family: str) -> Any:
        return self._account.clients["sagemaker"].describe_model_package_group(ModelPackageGroupName=family)


ARCHIVE = ".tar.gz"
UNKNOWN = "unknown"


def data(uri: str) -> dict[str, Any]:
    """The members of a container that say where its model is: a folder as it lies there, or an archive."""
    if uri.endswith(ARCHIVE):
        return {"ModelDataUrl": uri}
    folder = uri if uri.endswith("/") else uri + "/"
    return {"ModelDataSource": {"S3DataSource": {"S3Uri": folder, "S3DataType": "S3Prefix", "CompressionType": "None"}}}


def _uri(package: Described) -> str:
    container = package.get("InferenceSpecification", {}).get("Containers", [{}])[0]
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    return str(source.get("S3Uri") or container.get("ModelDataUrl") or "")


def _addressed(path: str) -> str:
    """The digest of planned content: a folder's is its address, a single file's that of the folder that holds it."""
    kind, _, rest = path.partition(":")
    hex, _, name = rest.partition("/")
    if kind != "sha256":
        return UNKNOWN
    return "sha256:" + (hashlib.sha256(f"sha256:{hex} {name}\n".encode()).hexdigest() if name else hex)


def _arn(have: State) -> str:
    return str(have.native["ModelPackageGroupArn"])


def _failure(package: Described, phase: Phase) -> Failure | None:
    if phase is not Phase.FAILED:
        return None
    details = package.get("ModelPackageStatusDetails", {})
    reasons = [each.get("FailureReason") for each in details.get("ValidationStatuses", ()) if each.get("FailureReason")]
    return Failure("; ".join(reasons) or "SageMaker gave no reason")


def _turned(part: Part, phase: Phase | None) -> Call:
    """Into the archive, out of it, or away: a package's life cycle can be seen in a list, and be changed."""
    if phase is None:
        return _delete(part, "it is not wanted")
    document = {"ModelPackageArn": part.id, "ModelLifeCycle": ARCHIVED if phase is Phase.ARCHIVED else ACTIVE}
    return Call("UpdateModelPackage", part.id, document, f"it is {part.phase.value}", Effect.UPDATE)


def _delete(part: Part, why: str) -> Call:
    return Call("DeleteModelPackage", part.id, {"ModelPackageName": part.id}, why, Effect.DELETE)
