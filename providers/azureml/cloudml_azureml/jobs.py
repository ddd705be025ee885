"""Jobs as command jobs; their ids are the runs'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cloudml import bundle, specs
from cloudml.errors import ConfigError
from cloudml.objects import Objects
from cloudml.outputs import Left, Outputs
from cloudml.spi import Call, Effect, Goal, Operation, leaves, patched, spec_key
from cloudml.states import EMPTY, Failure, Key, Phase, State
from cloudml_azureml import environments, instances, places
from cloudml_azureml.history import History
from cloudml_azureml.options import NAME, JobOptions
from cloudml_azureml.wire import Wire

PHASES: Mapping[str, Phase] = {
    "NotStarted": Phase.PENDING,
    "Queued": Phase.PENDING,
    "Starting": Phase.PROVISIONING,
    "Provisioning": Phase.PROVISIONING,
    "Preparing": Phase.PREPARING,
    "Running": Phase.RUNNING,
    "NotResponding": Phase.RUNNING,  # transient (shared facts, containers.md §5)
    "Finalizing": Phase.FINALIZING,
    "Completed": Phase.SUCCEEDED,
    "Failed": Phase.FAILED,
    "CancelRequested": Phase.CANCELLING,
    "Canceled": Phase.CANCELLED,
}
OUTPUT = "run"
NO_REASON = "the job failed; its log says why"


class AzureJobs:
    """A run is one command job; what it writes goes to ``<stack>/runs/<id>`` of the store."""

    def __init__(self, wire: Wire, artifacts: Objects, history: History, image: str, compute: str | None) -> None:
        self._wire = wire
        self._artifacts = artifacts
        self._history = history
        self._image = image
        self._compute = compute
        self._outputs = Outputs(artifacts)

    def observe(self, key: Key, want: specs.TrainingJob | None) -> State | None:
        job = self._wire.find(f"jobs/{key.name}")
        if job is not None:
            return self._state(key, job)
        left = self._outputs.parts(self._output(key))
        if want is not None:
            left += environments.parts(self._wire, self._environments(want))
        return State(key, Phase.EMPTY, key.stack, parts=left) if left else None

    def render(self, goal: Goal[specs.TrainingJob], have: State | None) -> Sequence[Call]:
        path, there = f"jobs/{goal.key.name}", have is not None and have.phase is not Phase.EMPTY
        if goal.want is not None:
            if there:
                return []
            known = have.of(environments.KIND) if have else ()
            return [*environments.calls(self._environments(goal.want), known), self._create(goal, goal.want)]
        steps = []
        if have is not None and there and not have.phase.settled and have.phase is not Phase.CANCELLING:
            steps.append(Call(f"POST {path}/cancel", path, {}, "it is not wanted to run", Effect.UPDATE))
        if goal.cancel or have is None:
            return steps
        if there:
            steps.append(Call(f"DELETE {path}", path, {}, "it is not wanted", Effect.DELETE))
        for part in have.of("output"):
            steps.append(Call("DELETE blobs", part.id, {}, "they go with their job", Effect.DELETE))
        return steps

    def send(self, call: Call) -> Operation | None:
        if call.operation == "DELETE blobs":
            self._artifacts.delete(call.target)
            return None
        return self._wire.write(call.operation, call.document, new=call.operation.startswith("PUT jobs/"))

    def poll(self, operation: Operation) -> Operation:
        return self._wire.poll(operation)

    def list(self, stack: str | None) -> Iterator[State]:
        for job in sorted(self._wire.items("jobs", listViewType="All"), key=lambda each: str(each["name"])):
            tags = job["properties"].get("tags") or {}
            if tags.get("cloudml-kind") == "job" and stack in (None, tags["cloudml-stack"]):
                yield self._state(Key("job", job["name"], stack or tags["cloudml-stack"]), job)

    def unsettled(self, stack: str) -> Mapping[str, Phase]:
        """A list filters by a tag's name (Jobs - List of the REST reference), neither by its value nor by the state."""
        found = self._wire.items("jobs", listViewType="All", tag="cloudml-stack")
        phases = {job["name"]: PHASES.get(job["properties"]["status"], Phase.UNKNOWN) for job in found}
        return {name: phase for name, phase in phases.items() if not phase.settled}

    # -- the request -------------------------------------------------------------------------------------------------

    def _environments(self, want: specs.TrainingJob) -> Iterator[tuple[str, Mapping[str, Any]]]:
        return iter([environments.training(want.image or self._image)])

    def _create(self, goal: Goal[specs.TrainingJob], want: specs.TrainingJob) -> Call:
        options = JobOptions.model_validate(want.options.get(NAME, {}))
        stack, place = goal.key.stack, self._artifacts.uri
        inputs = {
            "cloudml": places.file(place(bundle.key(stack))),
            "spec": places.file(place(spec_key(stack, want))),
            **({"source": self._input(stack, want.source)} if want.source else {}),
            **{f"input_{name}": self._input(stack, value) for name, value in sorted(want.inputs.items())},
        }
        environment, _ = environments.training(want.image or self._image)
        properties: dict[str, Any] = {
            "jobType": "Command",
            "displayName": goal.key.name,
            "experimentName": options.experiment or goal.labels["cloudml-name"],
            "command": self._command(goal.key, want),
            "environmentId": self._wire.id(environment),
            "environmentVariables": {"CLOUDML_PLATFORM": NAME, **leaves(want.env)},
            "inputs": inputs,
            "outputs": {
                OUTPUT: {"jobOutputType": "uri_folder", "mode": "ReadWriteMount", "uri": self._output(goal.key)}
            },
            "limits": {"jobLimitsType": "Command", "timeout": f"PT{want.timeout:.0f}S"},
            "tags": {**want.labels, **goal.labels},
            **self._machines(want, options),
        }
        document = {"properties": patched(properties, want, NAME)}
        path = f"jobs/{goal.key.name}"
        return Call(f"PUT {path}", path, document, "there is no such job")

    def _machines(self, want: specs.TrainingJob, options: JobOptions) -> dict[str, Any]:
        """Serverless machines of a size, or nodes of a cluster."""
        resources: dict[str, Any] = {"instanceCount": want.nodes}
        compute = options.compute or self._compute or instances.SERVERLESS
        found: dict[str, Any] = {"resources": resources}
        if want.resources.shm:
            resources["shmSize"] = f"{-(-want.resources.shm // (1 << 20))}m"
        if compute == instances.SERVERLESS:
            resources["instanceType"] = instances.choose(want.resources, instances.TRAINING, options.instance_type)
            if want.spot:
                found["queueSettings"] = {"jobTier": "Spot"}
        elif want.spot:
            hint = "leave 'spot' out and name a cluster of low priority, or set options.azureml.compute: serverless"
            raise ConfigError(f"cluster {compute!r} decides itself whether its machines are spot", hint=hint)
        else:
            found["computeId"] = self._wire.id(f"computes/{compute}")
        if want.nodes > 1:
            found["distribution"] = {"distributionType": options.distribution}
        return found

    def _command(self, key: Key, want: specs.TrainingJob) -> str:
        """The service fills in the paths; the runtime reads command and parameters from the stored spec."""
        words = ["python3 ${{inputs.cloudml}} train", f"--id {key.name}", "--spec ${{inputs.spec}}"]
        words += ["--source ${{inputs.source}}"] if want.source else []
        words += [f"--input {name}=${{{{inputs.input_{name}}}}}" for name in sorted(want.inputs)]
        return " ".join([*words, f"--output ${{{{outputs.{OUTPUT}}}}}"])

    def _input(self, stack: str, value: str) -> dict[str, str]:
        """Content is where the core has put it, a file if it has a name; a URI is what its last part looks like."""
        kind, _, digest = value.partition(":")
        if kind == "sha256":
            uri = self._artifacts.uri(f"{stack}/content/{digest}")
            return places.file(uri) if "/" in digest else places.folder(uri)
        return places.file(value) if "." in value.rpartition("/")[2] else places.folder(value)

    def _output(self, key: Key) -> str:
        return self._artifacts.uri(f"{key.stack}/runs/{key.name}")

    # -- what is there -----------------------------------------------------------------------------------------------

    def _state(self, key: Key, job: Mapping[str, Any]) -> State:
        properties = job["properties"]
        tags, phase = properties.get("tags") or {}, PHASES.get(properties["status"], Phase.UNKNOWN)
        owner = tags.get("cloudml-stack")
        output = self._output(Key(key.kind, key.name, owner or key.stack))
        made = str(job["systemData"]["createdAt"])
        left = self._outputs.ended(output, made) if phase.settled else Left()
        return State(
            key=key,
            phase=phase,
            owner=owner,
            spec=tags.get("cloudml-hash"),
            id=job["name"],
            parts=self._outputs.parts(output) if phase.settled else (),
            failure=Failure(left.failure or self._history.failure(job["name"]) or NO_REASON) if phase.failed else None,
            labels=tags,
            facts=left.facts if phase.settled else EMPTY,
            created=datetime.fromisoformat(made).timestamp(),
            native=job,
        )
