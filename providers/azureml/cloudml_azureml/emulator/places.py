"""Where a URI of Azure ML leads: a container and a path in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from cloudml_azureml.emulator.answers import user_error
from cloudml_azureml.emulator.store import ACCOUNT, Workspace

BLOBS, ARTIFACTS = "workspaceblobstore", "workspaceartifactstore"
DATASTORE = re.compile(
    r"azureml:(?://)?(?:/?subscriptions/[^/]+/resource[gG]roups/[^/]+/(?:providers/[^/]+/)?workspaces/[^/]+/)?"
    r"/?datastores/([^/]+)/paths/(.*)"
)
JOB = re.compile(r"azureml://jobs/([^/]+)/outputs/([^/]+)(?:/paths/?(.*))?")
BLOB = re.compile(r"https://([^.]+)\.blob\.core\.windows\.net/([^/]+)/?(.*)")


@dataclass(frozen=True)
class Place:
    container: str
    path: str


def container(workspace: Workspace, datastore: str) -> str:
    """The container behind a datastore. Each workspace has its own: they share one storage account."""
    return f"azureml-blobstore-{workspace.guid}" if datastore == BLOBS else f"azureml-{workspace.guid}"


def long_uri(workspace: Workspace, datastore: str, path: str) -> str:
    place = f"azureml://subscriptions/{workspace.subscription}/resourcegroups/{workspace.group}"
    return f"{place}/workspaces/{workspace.name}/datastores/{datastore}/paths/{path}"


def run_folder(job: str) -> str:
    """Where a job's logs and ./outputs are, in the artifact store."""
    return f"ExperimentRun/dcid.{job}"


def settled(workspace: Workspace, uri: str) -> str:
    """A job's output by the place where it is kept; others unchanged. Raises Refused for a job that is not there."""
    found = JOB.fullmatch(uri)
    if not found:
        return uri
    job, output, rest = found[1], found[2], found[3] or ""
    properties = workspace.get("jobs", job).properties
    if output == "artifacts":
        return long_uri(workspace, ARTIFACTS, f"{run_folder(job)}/{rest}")
    known = properties["outputs"].get(output)
    if known is None:
        raise user_error(400, f"Job {job} has no output '{output}'.")
    base = DATASTORE.fullmatch(known["uri"])
    if base is None:
        return f"{known['uri'].rstrip('/')}/{rest}".rstrip("/") if rest else str(known["uri"])
    folder = base[2] if base[2].endswith("/") or not rest else f"{base[2]}/"
    return long_uri(workspace, base[1], f"{folder}{rest}")


def place(workspace: Workspace, uri: str) -> Place:
    """Raises Refused for what is in none of the workspace's datastores."""
    uri = settled(workspace, uri)
    if found := DATASTORE.fullmatch(uri):
        if found[1] not in (BLOBS, ARTIFACTS):
            raise user_error(400, f"Datastore '{found[1]}' was not found.")
        return Place(container(workspace, found[1]), unquote(found[2]))
    if (found := BLOB.fullmatch(uri)) and found[1] == ACCOUNT:
        return Place(found[2], unquote(found[3].split("?")[0]))
    raise user_error(400, f"'{uri}' is not in a datastore of this workspace.")
