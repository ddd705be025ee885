"""How each flavour of model is loaded: one table. Everything here runs on the thread that loads the model."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from cloudml.content import MANIFEST
from cloudml.errors import ConfigError
from cloudml.runtime.linear import shortcut
from cloudml.runtime.manifest import (
    FILES,
    PYTHON,
    Manifest,
    describe,
    find_model,
    model_digest,
    read_manifest,
    why_not_served,
)
from cloudml.runtime.rows import NUMBERS, Features, Frame, Lists, Numbers

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")
Signature = tuple[tuple[str, str], ...]
REFUSALS = (ValueError, TypeError, AttributeError)  # scikit-learn's, at a value of the wrong kind
DTYPES = NUMBERS | {"str"}
PLACE = re.compile(r"feature_\d+")  # the name that a signature gives to a column nobody named


@dataclass(frozen=True)
class Trust:
    """Which model may be loaded: the one of the registered ``digest``; ``pickles`` allows any pickle without one."""

    digest: str | None = None
    pickles: bool = False


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready. ``table`` makes of rows what a method takes; ``refusals`` are what a method raises at
    values it cannot take; ``probe`` is a row to measure with, or None."""

    flavor: str
    features: Features
    table: Callable[[list[Any], bool], Any]
    methods: Mapping[str, Callable[[Any], Any]]
    refusals: tuple[type[Exception], ...] = ()
    probe: list[Any] | None = None

    def outputs(self, method: str, table: Any, count: int) -> list[Any]:
        """The answers for a table of ``count`` rows, in order. Raises whatever the model raises, or ValueError."""
        found = self.methods[method](table)
        if hasattr(found, "to_numpy"):
            found = found.to_numpy()
        outputs = found.tolist() if hasattr(found, "tolist") else found
        outputs = outputs if type(outputs) is list else list(outputs)
        if len(outputs) != count:
            raise BadAnswer(f"the model gave {len(outputs)} answers for {count} rows")
        return outputs


class BadAnswer(Exception):
    """The model answered something else than one value for each row."""


def load(given: Path, signature: Signature | None, trust: Trust) -> LoadedModel:
    """The model in or below a folder, or of a file. Raises ConfigError, or whatever the model's own code raises."""
    folder, manifest = examine(given, trust)
    return LOADERS[manifest.flavor](folder, manifest, signature)


def examine(given: Path, trust: Trust) -> tuple[Path, Manifest]:
    """The model's folder and how it loads; nothing of it is run. Raises ConfigError where it cannot be loaded."""
    folder, manifest = _alone(given) if given.is_file() else _in_folder(given)
    if manifest.flavor == FILES:
        why = why_not_served(folder) or "its manifest says that it is plain files"
        raise ConfigError(f"{folder} cannot be served: {why}")
    if manifest.flavor not in LOADERS:
        raise ConfigError(f"flavor {manifest.flavor!r} is not known here; known are {', '.join(LOADERS)}")
    if not (folder / manifest.entry).is_file():
        raise ConfigError(f"{folder} has no {manifest.entry}, which its manifest names")
    _check(given, folder, manifest, trust)
    return folder, manifest


def _in_folder(given: Path) -> tuple[Path, Manifest]:
    try:
        folder = find_model(given)
    except ConfigError:
        named = [path for path in given.glob("*") if SUFFIXES.get(path.suffix) in TELLING and path.is_file()]
        if len(named) != 1 or any(given.rglob(MANIFEST)):
            raise
        return _alone(named[0])
    return folder, read_manifest(folder) if (folder / MANIFEST).is_file() else describe(folder)


def _alone(file: Path) -> tuple[Path, Manifest]:
    """A file without a manifest, which tells by its name what it is. Raises ConfigError."""
    flavor = SUFFIXES.get(file.suffix)
    if flavor is None:
        raise ConfigError(f"{file} does not say what it is: its name must end with {', '.join(SUFFIXES)}")
    return file.parent, Manifest(flavor, file.name, "", (), "")


def _check(given: Path, folder: Path, manifest: Manifest, trust: Trust) -> None:
    """A pickle runs whatever code is in it, so it must be the one that was registered. Raises ConfigError."""
    if trust.digest is not None:
        if trust.digest not in (model_digest(folder), model_digest(given)):
            raise ConfigError(
                f"{folder} is not the model that was registered: its files have another digest than {trust.digest}",
                hint="register it again",
            )
    elif manifest.flavor in PICKLED and not trust.pickles:
        raise ConfigError(
            f"{folder / manifest.entry} is a pickle, which can run any code, and nobody says that it is registered",
            hint="register the model, or trust whoever made it: --allow-pickle, in a container CLOUDML_ALLOW_PICKLE=1",
        )


def read_signature(given: Path | Mapping[str, Any]) -> Signature | None:
    """``{"inputs": [{"name", "dtype"}]}``, or a file of it, as pairs; None where nobody said them. ConfigError."""
    where = f"the signature {given}" if isinstance(given, Path) else "the signature"
    try:
        found = json.loads(given.read_text(encoding="utf-8")) if isinstance(given, Path) else given
        if found["inputs"] is None:  # the sidecar of a version without a baseline and a sample
            return None
        pairs = tuple((item["name"], item["dtype"]) for item in found["inputs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{where} is not readable: {type(error).__name__}: {error}") from error
    for name, dtype in pairs:
        if not isinstance(name, str) or dtype not in DTYPES:
            raise ConfigError(f"{where}: {name!r} has dtype {dtype!r}; known are {sorted(DTYPES)}")
    return pairs


def _sklearn(folder: Path, manifest: Manifest, signature: Signature | None) -> LoadedModel:
    _warn_of_version(manifest, "scikit-learn")
    import joblib
    import sklearn  # noqa: F401  # its import is part of the load

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")  # said above, in one line
        model = joblib.load(folder / manifest.entry)
    if not hasattr(model, "predict"):
        raise ConfigError(f"{manifest.entry} holds a {type(model).__name__}, which has no predict")
    # the order of columns is checked here by name, so the array that sklearn warns about is right
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    features = _features(model, signature)
    frame = features.names is not None and features.width is not None and not _takes_arrays(model)
    table = Frame(features) if frame else Numbers(features) if features.texts == frozenset() else Lists(features)
    if features.width is None:
        table = Lists(features)
    if not isinstance(table, Numbers):
        return LoadedModel("sklearn", features, table, _methods(model), REFUSALS)
    faster = shortcut(model)
    methods = _methods(model) if faster is None else {**_methods(model), "predict": faster}
    return LoadedModel("sklearn", features, table, methods, REFUSALS, [0.0] * (features.width or 0))


def _features(model: Any, signature: Signature | None) -> Features:
    """What the estimator was trained on, with the signature's types where there is one."""
    width = getattr(model, "n_features_in_", None)
    known = getattr(model, "feature_names_in_", None)
    names = None if known is None else tuple(str(name) for name in known)
    if signature is None:
        untyped = names is not None and not _takes_arrays(model)
        return Features(width, names, None if untyped else frozenset())
    return _from_signature(_fitted(signature, width, names))


def _fitted(signature: Signature, width: int | None, names: tuple[str, ...] | None) -> Signature:
    """The signature in the model's order, with the model's names where a sample gave none. Raises ConfigError."""
    if names is not None and width == len(signature) and all(PLACE.fullmatch(name) for name, _ in signature):
        signature = tuple((name, dtype) for name, (_, dtype) in zip(names, signature, strict=True))
    given = tuple(name for name, _ in signature)
    if names is not None and set(names) < set(given):  # a table's other columns: an id, a date
        given = names
    if width is not None and width != len(given):
        raise ConfigError(f"the signature names {len(given)} features, the model takes {width}")
    if names is None or names == given == tuple(name for name, _ in signature):
        return signature
    if set(names) != set(given):
        raise ConfigError(f"the signature names {given}, the model was trained on {names}")
    dtypes = dict(signature)
    return tuple((name, dtypes[name]) for name in names)


def _from_signature(signature: Signature) -> Features:
    texts = frozenset(index for index, (_, dtype) in enumerate(signature) if dtype not in NUMBERS)
    return Features(len(signature), tuple(name for name, _ in signature), texts)


def _takes_arrays(model: Any) -> bool:
    """Whether no step picks its columns by name: scikit-learn's own, but for the two that call for a frame."""
    steps = [model, *(model.get_params(deep=True).values() if hasattr(model, "get_params") else ())]
    pickers = {"ColumnTransformer", "FunctionTransformer"}
    estimators = [step for step in steps if hasattr(step, "fit") and not isinstance(step, type)]
    return all(
        type(step).__module__.startswith("sklearn.") and type(step).__name__ not in pickers for step in estimators
    )


def _python(folder: Path, manifest: Manifest, signature: Signature | None) -> LoadedModel:
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True  # nothing is written beside the model
    spec = importlib.util.spec_from_file_location("cloudml_served_model", folder / manifest.entry)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{folder / manifest.entry} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    make = getattr(module, "load", None) or getattr(module, "Model", None)
    if make is None:
        raise ConfigError(f"{manifest.entry} must have load(folder) or a class Model(folder)")
    model = make(folder)
    if not callable(getattr(model, "predict", None)):
        raise ConfigError(f"{manifest.entry}: what it gives, a {type(model).__name__}, has no predict(rows)")
    features = Features(None) if signature is None else _from_signature(signature)
    return LoadedModel("python", features, Lists(features), _methods(model))


def _onnx(folder: Path, manifest: Manifest, signature: Signature | None) -> LoadedModel:
    _warn_of_version(manifest, "onnxruntime")
    from cloudml.runtime.graphs import Graph, Tensors

    graph = Graph(folder / manifest.entry)
    features = graph.features()
    if signature is not None:
        known = _from_signature(_fitted(signature, features.width, features.names))
        features = replace(known, texts=features.texts) if features.width is not None else known
    probe: list[Any] | None = None
    if features.width is not None:
        probe = ["" if index in (features.texts or ()) else 0.0 for index in range(features.width)]
    return LoadedModel("onnx", features, Tensors(graph, features), graph.methods(), graph.refusals, probe)


def _methods(model: Any) -> Mapping[str, Callable[[Any], Any]]:
    return {name: getattr(model, name) for name in METHODS if callable(getattr(model, name, None))}


def _warn_of_version(manifest: Manifest, distribution: str) -> None:
    pins = dict(pin.split("==", 1) for pin in manifest.requirements if "==" in pin)
    try:
        have = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        wanted = f"{distribution}=={pins[distribution]}" if distribution in pins else distribution
        raise ConfigError(f"the model needs {distribution}", hint=f'pip install "{wanted}"') from None
    made = pins.get(distribution, have)
    if made.split(".")[:2] != have.split(".")[:2]:
        sys.stderr.write(f"cloudml: the model was made with {distribution} {made}, here is {have}: check its answers\n")


PICKLED = frozenset({"sklearn"})
TELLING = PICKLED | {"onnx"}  # a single file of these is the model, whatever its name
SUFFIXES = {".joblib": "sklearn", ".pkl": "sklearn", ".pickle": "sklearn", ".py": PYTHON, ".onnx": "onnx"}
LOADERS: Mapping[str, Callable[[Path, Manifest, Signature | None], LoadedModel]] = {
    "sklearn": _sklearn,
    "python": _python,
    "onnx": _onnx,
}
