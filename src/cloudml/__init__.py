"""Describe an ML deployment once; prove it on your own machine; run it on any cloud.

    import cloudml as cm
    cloud = cm.connect("local")

Names are loaded on first use, so that importing this package costs a few milliseconds and no dependency. Kept to
Python 3.9, because the training runtime carries this file into the container.
"""

import logging
from importlib import import_module

__version__ = "0.1.0.dev0"

TYPE_CHECKING = False  # typing's own costs 8 ms; checkers know this name by itself
if TYPE_CHECKING:
    from typing import Any

    from cloudml import errors as errors
    from cloudml.client import Client as Client
    from cloudml.client import connect as connect
    from cloudml.runtime.context import context as context
    from cloudml.runtime.context import log_metric as log_metric
    from cloudml.specs import Deployment as Deployment
    from cloudml.specs import Endpoint as Endpoint
    from cloudml.specs import Model as Model
    from cloudml.specs import Monitor as Monitor
    from cloudml.specs import Resources as Resources
    from cloudml.specs import Scale as Scale
    from cloudml.specs import TrainingJob as TrainingJob

logging.getLogger("cloudml").addHandler(logging.NullHandler())

# Public name -> the module that has it; a module itself stands as its own name.
_PLACES = {
    "Client": "cloudml.client",
    "Deployment": "cloudml.specs",
    "Endpoint": "cloudml.specs",
    "Model": "cloudml.specs",
    "Monitor": "cloudml.specs",
    "Resources": "cloudml.specs",
    "Scale": "cloudml.specs",
    "TrainingJob": "cloudml.specs",
    "connect": "cloudml.client",
    "context": "cloudml.runtime.context",
    "errors": "cloudml.errors",
    "log_metric": "cloudml.runtime.context",
}
__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> "Any":
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'cloudml' has no attribute {name!r}")
    module = import_module(place)
    value = module if place == f"cloudml.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})
