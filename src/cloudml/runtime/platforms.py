"""Where each platform puts a model and a job's things, and where it looks for the reason of a failure.

Pure but for looking which files are there, below ``root``. Facts: SageMaker's, Azure's and Vertex's documentation of
custom containers, KServe's and Kubernetes' conventions. Standard library only.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from cloudml.errors import ConfigError

BAKED = "opt/cloudml"  # what this image was built with
SAGEMAKER = "opt/ml"
MODELS = (f"{SAGEMAKER}/model", "var/azureml-app/azureml-models", "mnt/models", f"{BAKED}/model")
URIS = ("CLOUDML_MODEL_URI", "AIP_STORAGE_URI")  # Vertex leaves the download to the container
TERMINATION_LOG = "dev/termination-log"  # Kubernetes shows its text as the reason of the container's end
MOST = 4096  # bytes of it that Kubernetes keeps; SageMaker keeps 1024 characters


@dataclass(frozen=True)
class Failures:
    """Files that get the reason of a failure as plain text, where they or their folders exist."""

    paths: tuple[Path, ...]

    def tell(self, reason: str) -> None:
        """Write it to each; one that cannot be written is left, for stderr has it too."""
        for path in self.paths:
            try:
                path.write_bytes(reason.encode("utf-8")[:MOST])
            except OSError:
                continue


def failures(verb: str, root: Path) -> Failures:
    """Where this platform wants to read why ``verb`` failed."""
    found = [root / TERMINATION_LOG] if (root / TERMINATION_LOG).exists() else []
    if verb != "serve" and (root / SAGEMAKER / "output").is_dir():
        found.append(root / SAGEMAKER / "output/failure")
    return Failures(tuple(found))


def serving(env: Mapping[str, str], root: Path) -> dict[str, str]:
    """The variables that ``serve`` and ``batch`` need and the platform did not set: the model's place.

    Raises ConfigError where no model is.
    """
    if env.get("CLOUDML_MODEL_DIR"):
        return {}
    uri = next((env[name] for name in URIS if env.get(name)), None)
    if uri is not None:
        place = Path(env.get("TMPDIR", tempfile.gettempdir()), "cloudml-model")
        return {"CLOUDML_MODEL_DIR": str(place), "CLOUDML_MODEL_URI": uri}
    places = [Path(env["AZUREML_MODEL_DIR"])] if env.get("AZUREML_MODEL_DIR") else []
    places += [root / place for place in MODELS]
    for place in places:
        if place.is_dir() and any(place.iterdir()):
            return {"CLOUDML_MODEL_DIR": str(place), **(_trusted(env, root) if place == root / BAKED / "model" else {})}
    raise ConfigError(
        f"there is no model: none of {', '.join(map(str, places))} holds one",
        hint="mount one, build it in (cloudml image build MODEL), or set CLOUDML_MODEL_DIR or CLOUDML_MODEL_URI",
    )


def _trusted(env: Mapping[str, str], root: Path) -> dict[str, str]:
    """The digest of the model that was built in: whoever built the image vouches for it."""
    about = _json(root / BAKED / "image.json")
    digest = about.get("model_digest") if isinstance(about, dict) else None
    return {"CLOUDML_MODEL_DIGEST": digest} if digest and not env.get("CLOUDML_MODEL_DIGEST") else {}


def training(arguments: Sequence[str], env: Mapping[str, str], root: Path, own: Path) -> list[str]:
    """The options of ``train``: as given, or what the platform says by files and variables, written below ``own``.

    ``-- COMMAND …`` is a job of that command alone. SageMaker gives neither options nor a command: its input channel
    ``cloudml`` then holds ``spec.json`` and, if there is one, the folder ``source``. Raises ConfigError.
    """
    if arguments[:1] != ["--"] and (arguments or env.get("CLOUDML_JOB")):
        return list(arguments)
    channel = root / SAGEMAKER / "input/data/cloudml"
    if arguments[:1] == ["--"]:
        spec: Any = {"command": list(arguments[1:])}
    else:
        stored = _json(channel / "spec.json")
        spec = stored.get("spec") if isinstance(stored, dict) else None
    if not isinstance(spec, dict) or not spec.get("command"):
        raise ConfigError(
            "there is no job: neither options, nor a command after '--', nor CLOUDML_JOB, nor spec.json in an input "
            "channel named cloudml",
            hint="cloudml-entrypoint train -- python train.py",
        )
    spec["params"] = {**spec.get("params", {}), **_hyperparameters(root)}
    source = channel / "source"
    written = own / "spec.json"
    written.write_text(json.dumps({"spec": spec}), encoding="utf-8")
    return _options(written, source if source.is_dir() else Path.cwd(), env, root)


def _options(written: Path, source: Path, env: Mapping[str, str], root: Path) -> list[str]:
    name = env.get("TRAINING_JOB_NAME") or env.get("CLOUD_ML_JOB_ID") or env.get("AZUREML_RUN_ID") or "train"
    options = ["--id", name, "--spec", str(written), "--source", str(source)]
    for flag, place in _written(env, root).items():
        options += [flag, place]
    for folder in sorted((root / SAGEMAKER / "input/data").glob("*/")):
        if folder.name != "cloudml":
            options += ["--input", f"{folder.name}={folder}"]
    return options


def _written(env: Mapping[str, str], root: Path) -> dict[str, str]:
    """Where a job writes."""
    ml = root / SAGEMAKER
    if (ml / "input").is_dir():
        places = {"output": ml / "output/data", "model": ml / "model", "checkpoints": ml / "checkpoints"}
        return {f"--{name}": str(place) for name, place in places.items()} | {"--failure": str(ml / "output/failure")}
    output = env.get("CLOUDML_OUTPUT_DIR") or str(Path(env.get("TMPDIR", tempfile.gettempdir()), "cloudml-output"))
    uris = {"--model": env.get("AIP_MODEL_DIR", ""), "--checkpoints": env.get("AIP_CHECKPOINT_DIR", "")}
    # Vertex mounts every bucket below /gcs
    mounted = {flag: uri.replace("gs://", f"{root}/gcs/".replace("//", "/"), 1) for flag, uri in uris.items() if uri}
    return {"--output": output, **mounted}


def _hyperparameters(root: Path) -> dict[str, Any]:
    """SageMaker's, which are all strings: JSON where they are JSON."""
    found = _json(root / SAGEMAKER / "input/config/hyperparameters.json")
    return {name: _decoded(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _decoded(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


def nodes(env: Mapping[str, str], root: Path) -> dict[str, str]:
    """The variables ``CLOUDML_NUM_NODES`` … from SageMaker's ``resourceconfig.json`` or Vertex's ``CLUSTER_SPEC``.

    The nodes of the first pool come first, and the first of all is the master. Empty where neither is there, and where
    the variables, or torchrun's, are set already.
    """
    if "CLOUDML_NODE_RANK" in env or "PET_NODE_RANK" in env:
        return {}
    found = _json(root / SAGEMAKER / "input/config/resourceconfig.json")
    if isinstance(found, dict) and found.get("current_host") in found.get("hosts", []):
        hosts = sorted(found["hosts"])
        return _place(hosts, hosts.index(found["current_host"]))
    if env.get("CLUSTER_SPEC"):
        return _of_pools(_decoded(env["CLUSTER_SPEC"]))
    return {}


def _of_pools(spec: Any) -> dict[str, str]:
    cluster = spec.get("cluster") if isinstance(spec, dict) else None
    task = spec.get("task") if isinstance(spec, dict) else None
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        return {}
    pools = sorted((name for name in cluster if re.fullmatch(r"workerpool\d+", name)), key=lambda name: int(name[10:]))
    ranked = [(pool, index) for pool in pools for index in range(len(cluster[pool]))]
    own = (task.get("type"), int(task.get("index", 0)))
    if own not in ranked:
        return {}
    hosts = [cluster[pool][index].rpartition(":")[0] or cluster[pool][index] for pool, index in ranked]
    return _place(hosts, ranked.index(own))


def _place(hosts: Sequence[str], rank: int) -> dict[str, str]:
    return {
        "CLOUDML_NUM_NODES": str(len(hosts)),
        "CLOUDML_NODE_RANK": str(rank),
        "CLOUDML_MASTER_ADDR": hosts[0],
    }


def _json(path: Path) -> Optional[Any]:
    """A file's JSON; None where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
