"""One job, one endpoint: train, deploy, predict, rollback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cloudml.cli import options
from cloudml.cli.names import endpoint_names, file_jobs, references
from cloudml.cli.options import Run, pairs

if TYPE_CHECKING:
    from cloudml.handles import EndpointHandle
    from cloudml.specs import Spec


@click.command()
@click.argument("name", shell_complete=file_jobs)
@click.option("--command", help="What to run, for a job that is not in the file.")
@click.option("--source", type=click.Path(exists=True), help="The folder that the command runs in.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter; goes before the file's.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=PATH", help="An input; goes before the file's.")
@options.wait
@options.timeout
@options.command
def train(
    run: Run,
    name: str,
    command: str | None,
    source: str | None,
    params: tuple[str, ...],
    inputs: tuple[str, ...],
    wait: bool,
    timeout: float | None,
) -> None:
    """Start a new run of job NAME: one of the file, or any with --command."""
    from cloudml.config.nodes import scalar

    full_name, fields = _job(run, name)
    fields |= {key: value for key, value in (("command", command), ("source", source)) if value is not None}
    given = {key: scalar(text) for key, text in pairs(params, "--param").items()}
    fields |= {"params": {**fields.get("params", {}), **given}}
    fields |= {"inputs": {**fields.get("inputs", {}), **pairs(inputs, "--input")}}
    if "command" not in fields:
        raise click.UsageError(f"the file has no job {name!r}: --command says what to run")
    job = run.client().train(full_name, wait=wait, deadline=timeout, **fields)
    run.out.state("jobs", job.state)


def _job(run: Run, name: str) -> tuple[str, dict[str, Any]]:
    """The run's name and the fields of a job of the file; the name as it is and no fields for another."""
    project = run.project if run.has_file else None
    if project is None or name not in project.jobs:
        return name, {}
    return f"{project.name}-{name}", _fields(project.jobs[name])


def _fields(spec: Spec) -> dict[str, Any]:
    """What a spec says, as the client takes it."""
    return spec.model_dump(by_alias=True, exclude_defaults=True)


@click.command()
@click.argument("name", shell_complete=endpoint_names)
@click.argument("model", required=False, shell_complete=references)
@click.option("--deployment", help="Add or replace this one, behind an endpoint that is there.")
@click.option("--traffic", multiple=True, metavar="DEPLOYMENT=PERCENT", help="Share the traffic out.")
@click.option("--capture", type=click.FloatRange(0, 1), help="The share of requests that is kept.")
@options.wait
@options.timeout
@options.command
def deploy(
    run: Run,
    name: str,
    model: str | None,
    deployment: str | None,
    traffic: tuple[str, ...],
    capture: float | None,
    wait: bool,
    timeout: float | None,
) -> None:
    """Deploy endpoint NAME as the file says, or with MODEL (family, family:version or family@alias)."""
    shares = _shares(traffic)
    if deployment is not None:
        if model is None:
            raise click.UsageError("--deployment needs MODEL")
        _whole_only("--deployment", capture, wait)
        there = run.client().endpoints.get(name)
        endpoint = there.deploy(model, name=deployment, traffic=shares or None, deadline=timeout)
    elif shares and model is None:
        _whole_only("--traffic without MODEL", capture, wait)
        endpoint = run.client().endpoints.get(name).shift(shares, deadline=timeout)
    else:
        given = {"capture": capture, "traffic": shares or None}
        endpoint = _deploy_whole(run, name, model, given, wait=wait, deadline=timeout)
    run.out.state("endpoints", endpoint.state)


def _whole_only(by: str, capture: float | None, wait: bool) -> None:
    """Refuses what only a deployment of the whole endpoint takes."""
    for flag, given in (("--capture", capture is not None), ("--no-wait", not wait)):
        if given:
            raise click.UsageError(f"{flag} does not go with {by}: it is for deploying the whole endpoint")


def _deploy_whole(run: Run, name: str, model: str | None, given: Mapping[str, Any], **waiting: Any) -> EndpointHandle:
    fields: dict[str, Any] = {}
    if run.has_file and name in run.project.endpoints:
        fields = _fields(run.project.endpoints[name])
        if model is not None:
            fields["deployments"] = _with_model(fields["deployments"], model)
    elif model is not None:
        fields["model"] = model
    else:
        raise click.UsageError(f"the file has no endpoint {name!r}: MODEL says what to deploy")
    fields |= {field: value for field, value in given.items() if value is not None}
    return run.client().deploy(name, **waiting, **fields)


def _with_model(deployments: dict[str, Any], model: str) -> dict[str, Any]:
    """The file's only deployment with another model."""
    if len(deployments) > 1:
        raise click.UsageError(f"--deployment says which of {', '.join(deployments)} gets the model")
    return {name: {**each, "model": model} for name, each in deployments.items()}


def _shares(traffic: tuple[str, ...]) -> dict[str, int]:
    shares = pairs(traffic, "--traffic")
    for name, share in shares.items():
        if not share.isdecimal():
            raise click.UsageError(
                f"--traffic {name}={share}: a share is a whole per cent, and each deployment has an option of its own: "
                "--traffic blue=90 --traffic green=10"
            )
    return {name: int(share) for name, share in shares.items()}


@click.command()
@click.argument("endpoint", shell_complete=endpoint_names)
@click.option("-d", "--data", required=True, help="JSON rows, @FILE (.json or .csv), or - for stdin.")
@click.option("--deployment", help="Ask this one, whatever its share.")
@options.command
def predict(run: Run, endpoint: str, data: str, deployment: str | None) -> None:
    """Ask ENDPOINT for predictions: one per row."""
    from cloudml.cli.request import answer, request
    from cloudml.handles import EndpointHandle

    body, content_type = request(data)
    payload = EndpointHandle(run.client().session, endpoint).invoke(body, content_type, deployment)
    run.out.predictions(answer(payload.body))


@click.command()
@click.argument("endpoint", shell_complete=endpoint_names)
@options.timeout
@options.command
def rollback(run: Run, endpoint: str, timeout: float | None) -> None:
    """Go back to what ENDPOINT was before its last change."""
    run.out.state("endpoints", run.client().endpoints.get(endpoint).rollback(timeout).state)
