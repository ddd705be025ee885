"""The way to an endpoint that is wanted: native requests, rendered without asking anybody."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from cloudml import specs
from cloudml.errors import Unsupported
from cloudml.spi import Call, Effect, Goal, Later, leaves, patched
from cloudml.states import EMPTY, Part, Phase, State
from cloudml_sagemaker import limits, scaling, traffic
from cloudml_sagemaker.account import Account
from cloudml_sagemaker.instances import GIB, choose
from cloudml_sagemaker.models import data
from cloudml_sagemaker.options import NAME, EndpointOptions
from cloudml_sagemaker.tags import HASH, PREVIOUS, add_tags, base, lacks, tags

MODEL = "/opt/ml/model"
SIDECARS = "/opt/ml/additional-model-data-sources"
TIMEOUT = 60
CAPTURED = {"JsonContentTypes": ["application/json", "application/jsonlines"], "CsvContentTypes": ["text/csv"]}


def config_name(endpoint: str, want: specs.Endpoint) -> str:
    """By what runs; and by the shadow, for which a configuration has a list of its own."""
    return "-".join((endpoint, specs.spec_hash(want), *traffic.mirrored(want)))


def model_names(endpoint: str, want: specs.Endpoint) -> dict[str, str]:
    """The name of each deployment's model."""
    return {name: f"{endpoint}-{name}-{specs.spec_hash(each)}" for name, each in want.deployments.items()}


def present(goal: Goal[specs.Endpoint], want: specs.Endpoint, have: State | None, account: Account) -> Iterator[Call]:
    """Create, switch, settle, delete what nothing needs."""
    endpoint, where = goal.key.name, str(goal.key)
    if want.timeout != TIMEOUT:
        raise Unsupported(f"{where}: SageMaker ends requests after {TIMEOUT} s, always", hint="leave 'timeout' out")
    traffic.check_mirror(want, where)
    config, models = config_name(endpoint, want), model_names(endpoint, want)
    for name in (config, *models.values()):
        limits.check_name(name, where)
    parts = {part.name: part for part in have.parts if part.kind in ("model", "config")} if have else {}
    for name in models.values():
        if name in parts:
            yield from _taken_over(goal, parts[name])
    for deployment, name in models.items():
        if name not in parts:
            yield _create_model(goal, want, deployment, name, account)
    if config in parts:
        yield from _taken_over(goal, parts[config])
    else:
        yield _create_config(goal, want, config, models, account)
    yield from _switched(goal, want, have, config, instance_types(want, where))
    yield from _garbage(goal, have, config, set(models.values()))


def instance_types(want: specs.Endpoint, where: str) -> dict[str, str]:
    """The instance type of each deployment: as its options say, else the smallest that fits."""
    return {
        name: _options(want, each).instance_type or choose(each.resources, where)
        for name, each in want.deployments.items()
    }


def gone(have: State) -> Iterator[Call]:
    """What counts its instances out, the endpoint, its configurations, its models; all are labelled as its own."""
    yield from scaling.gone(have)
    if have.facts and have.phase is not Phase.DELETING:
        name = have.key.name
        yield Call("DeleteEndpoint", name, {"EndpointName": name}, "it is not wanted", Effect.DELETE)
    yield from (_delete("EndpointConfig", part) for part in have.of("config"))
    yield from (_delete("Model", part) for part in have.of("model"))


def _taken_over(goal: Goal[specs.Endpoint], part: Part) -> Iterator[Call]:
    if part.facts["owner"] != goal.key.stack:
        yield add_tags(part.id, part.name, base(goal.labels), f"it belongs to {part.facts['owner']}")


def _options(want: specs.Endpoint, deployment: specs.Deployment) -> EndpointOptions:
    return EndpointOptions.model_validate({**want.options.get(NAME, {}), **deployment.options.get(NAME, {})})


def _create_model(
    goal: Goal[specs.Endpoint], want: specs.Endpoint, deployment: str, name: str, account: Account
) -> Call:
    spec, where = want.deployments[deployment], f"{goal.key}, deployment {deployment}"
    reference = goal.references[spec.model]
    env: dict[str, Any] = {
        **leaves(spec.env),
        "CLOUDML_PLATFORM": NAME,
        "CLOUDML_MODEL_DIR": MODEL,
        "CLOUDML_MODEL_NAME": reference.family,
        "CLOUDML_MODEL_VERSION": reference.version,
        "CLOUDML_ENDPOINT": goal.key.name,
        "CLOUDML_DEPLOYMENT": deployment,
        **({"CLOUDML_MODEL_DIGEST": reference.digest} if reference.digest else {}),
    }
    container = {"Image": spec.image or account.image, **_data(reference.uri)}
    if reference.sidecar.startswith("s3://"):
        file = {"S3Uri": reference.sidecar, "S3DataType": "S3Object", "CompressionType": "None"}
        container["AdditionalModelDataSources"] = [{"ChannelName": NAME_OF_SIDECAR, "S3DataSource": file}]
        env["CLOUDML_SIGNATURE"] = f"{SIDECARS}/{NAME_OF_SIDECAR}/{reference.sidecar.rpartition('/')[2]}"
    limits.check_env(env, "endpoint", where)
    labels = {**spec.labels, **base(goal.labels), HASH: specs.spec_hash(spec)}
    document = {
        "ModelName": name,
        "ExecutionRoleArn": account.role,
        "PrimaryContainer": {**container, "Environment": env},
        "Tags": tags(labels, where),
        **_options(want, spec).network(),
    }
    return Call("CreateModel", name, patched(document, spec, NAME), "this deployment is new")


NAME_OF_SIDECAR = "cloudml"


def _data(uri: Any) -> dict[str, Any]:
    return data(uri) if isinstance(uri, str) else {"ModelDataSource": uri}


def _create_config(
    goal: Goal[specs.Endpoint], want: specs.Endpoint, config: str, models: Mapping[str, str], account: Account
) -> Call:
    """Without weights: they move by themselves, and what a configuration says of them replaces the fleet.

    But a shadow's first weight, beside the 1.0 that the one production variant then has, is its share.
    """
    where, shadows = str(goal.key), traffic.mirrored(want)
    types = instance_types(want, where)
    variants = {
        name: _variant(name, models[name], each, types[name], _options(want, each), where)
        for name, each in want.deployments.items()
    }
    document: dict[str, Any] = {
        "EndpointConfigName": config,
        "ProductionVariants": [each for name, each in variants.items() if name not in shadows],
        "Tags": tags({**want.labels, **base(goal.labels), HASH: specs.spec_hash(want)}, where),
    }
    if shadows:
        weights = {name: {"InitialVariantWeight": share / 100} for name, share in shadows.items()}
        document["ShadowProductionVariants"] = [variants[name] | weight for name, weight in weights.items()]
    if want.capture:
        document["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": max(1, round(100 * want.capture)),
            "DestinationS3Uri": account.uri(f"{goal.key.stack}/captured"),
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": CAPTURED,
        }
    return Call("CreateEndpointConfig", config, patched(document, want, NAME), "these deployments are new")


def _variant(
    name: str, model: str, deployment: specs.Deployment, instance: str, options: EndpointOptions, where: str
) -> dict[str, Any]:
    resources = deployment.resources
    more: dict[str, Any] = {}
    if resources.disk:
        more["VolumeSizeInGB"] = math.ceil(resources.disk / GIB)
        limits.check_most(more["VolumeSizeInGB"], 512, "GiB of disk", where)
    if options.startup_timeout:
        more["ContainerStartupHealthCheckTimeoutInSeconds"] = options.startup_timeout
    if options.download_timeout:
        more["ModelDataDownloadTimeoutInSeconds"] = options.download_timeout
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": instance,
        "InitialInstanceCount": deployment.scale.min,
        **more,
    }


def _switched(
    goal: Goal[specs.Endpoint], want: specs.Endpoint, have: State | None, config: str, types: Mapping[str, str]
) -> Iterator[Call]:
    """The endpoint on the configuration, then weights, counts and scaling, then the labels for what was reached."""
    endpoint, where = goal.key.name, str(goal.key)
    name, labels = {"EndpointName": endpoint}, base({**want.labels, **goal.labels})
    facts = have.facts if have else EMPTY
    freed = [*scaling.freed(endpoint, want, have, types, config)]
    yield from freed
    if have and have.phase is Phase.FAILED:
        yield Call("DeleteEndpoint", endpoint, name, "it failed and can only be made anew", Effect.DELETE)
        facts = EMPTY
    if not facts:
        document = {**name, "EndpointConfigName": config, "Tags": tags(labels, where)}
        yield Call("CreateEndpoint", endpoint, document, "there is no such endpoint")
    elif have and lacks(have.labels, labels):
        yield add_tags(have.native["EndpointArn"], endpoint, labels, "its owner or its labels differ")
    weights, mirror = facts.get("weights", {}), facts.get("mirror", {})
    if facts and facts["config"] != config:
        weights = yield from _updated(endpoint, want, facts, config)
    if not facts or facts["config"] != config:
        mirror = traffic.mirrored(want)
        weights = traffic.updated({} if mirror else weights, (each for each in want.deployments if each not in mirror))
    counts = {each: facts.get("counts", {}).get(each) or scale.min for each, scale in _scales(want).items()}
    yield from _settled(endpoint, want, weights, mirror, counts)
    left = {call.target for call in freed}
    scaled = {part.name: part for part in have.of(scaling.KIND) if part.id not in left} if have else {}
    yield from scaling.settled(endpoint, want, scaled, types, where)
    reached = {key: value for key, value in goal.labels.items() if key in (HASH, PREVIOUS)}
    if not facts or (have and lacks(have.labels, reached)):
        arn = have.native["EndpointArn"] if have and facts else Later("arn")
        yield add_tags(arn, endpoint, reached, "it names what runs, and what ran")


def _updated(
    endpoint: str, want: specs.Endpoint, facts: Mapping[str, Any], config: str
) -> Generator[Call, None, Mapping[str, float]]:
    """To another configuration; the weights of the variants that there are, as they were before it or set for it."""
    weights: Mapping[str, float] = facts["weights"]
    shadows = traffic.mirrored(want)
    if not shadows and set(want.deployments) - set(weights) and traffic.small(weights):
        weights = traffic.ours(facts["traffic"])
        yield _weights(endpoint, weights, {}, "a new deployment must not get a large share at first")
    document = {"EndpointName": endpoint, "EndpointConfigName": config, **traffic.retained(shadows)}
    yield Call("UpdateEndpoint", endpoint, document, f"it runs {facts['config']}", Effect.UPDATE)
    return weights


def _scales(want: specs.Endpoint) -> dict[str, specs.Scale]:
    return {name: each.scale for name, each in want.deployments.items()}


def _settled(
    endpoint: str,
    want: specs.Endpoint,
    weights: Mapping[str, float],
    mirror: Mapping[str, int],
    counts: Mapping[str, int],
) -> Iterator[Call]:
    """Weights where the traffic or what is mirrored differs, and counts where they are fixed and differ."""
    shadows = traffic.mirrored(want)
    shares = {name: want.traffic.get(name, 0) for name in want.deployments if name not in shadows}
    moved = traffic.ours(shares) if traffic.percent(weights) != shares else {}
    if mirror != shadows:
        whole = sum((moved or weights).values())  # of the one variant that is mirrored
        moved |= {name: whole * share / 100 for name, share in shadows.items()}
    resized = {
        name: scale.min for name, scale in _scales(want).items() if scale.min == scale.max and counts[name] != scale.min
    }
    if moved or resized:
        yield _weights(endpoint, moved, resized, "traffic or counts differ")


def _weights(endpoint: str, weights: Mapping[str, float], counts: Mapping[str, int], why: str) -> Call:
    rows = [
        {
            "VariantName": name,
            **({"DesiredWeight": weights[name]} if name in weights else {}),
            **({"DesiredInstanceCount": counts[name]} if name in counts else {}),
        }
        for name in sorted({*weights, *counts})
    ]
    document = {"EndpointName": endpoint, "DesiredWeightsAndCapacities": rows}
    return Call("UpdateEndpointWeightsAndCapacities", endpoint, document, why, Effect.UPDATE)


def _garbage(goal: Goal[specs.Endpoint], have: State | None, config: str, models: set[str]) -> Iterator[Call]:
    """What neither the wanted nor the previous configuration needs, and is labelled as ours."""
    current, previous = (goal.labels.get(name, "").partition("-")[0] for name in (HASH, PREVIOUS))
    configs = have.of("config") if have else ()
    kept = [part for part in configs if part.name == config or (part.spec == previous != current)]
    needed = models.union(*(part.facts["models"].values() for part in kept))
    for part in configs:
        if part not in kept and part.facts["owner"] == goal.key.stack:
            yield _delete("EndpointConfig", part)
    for part in have.of("model") if have else ():
        if part.name not in needed and part.facts["owner"] == goal.key.stack:
            yield _delete("Model", part)


def _delete(what: str, part: Part) -> Call:
    return Call(f"Delete{what}", part.name, {f"{what}Name": part.name}, "nothing needs it any more", Effect.DELETE)
