"""Where things are in the workspace's default datastore, and how a job is told."""

from __future__ import annotations

from cloudml import specs
from cloudml_azureml.artifacts import ROOT, short

LONGEST_NAME, HASH = 32, 4  # characters of an endpoint's name, and of the hash at its end
COLLECTED = "modelDataCollector"


def endpoint(workspace: str, name: str) -> str:
    """An endpoint's name is the whole region's, so ours ends with a hash of its workspace."""
    mark = specs.hash8([workspace, name])[:HASH]
    return f"{name[: LONGEST_NAME - HASH - 1].rstrip('-')}-{mark}"


def captured(workspace: str, name: str) -> str:
    """The key under which the data collector keeps an endpoint's requests."""
    return f"{COLLECTED}/{endpoint(workspace, name)}"


def key_of(uri: str) -> str:
    """The key of a URI of the store, however the service shows it; empty for any other."""
    found = short(uri)
    return found.removeprefix(ROOT).rstrip("/") if found.startswith(ROOT) else ""


def file(uri: str) -> dict[str, str]:
    """An input of a job that is one file."""
    return {"jobInputType": "uri_file", "mode": "ReadOnlyMount", "uri": uri}


def folder(uri: str) -> dict[str, str]:
    """An input of a job that is a folder."""
    return {"jobInputType": "uri_folder", "mode": "ReadOnlyMount", "uri": uri}
