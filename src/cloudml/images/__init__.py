"""The one image of cloudml: what goes into it, building it, and pushing it to a registry.

``recipe`` says what the image holds and names it by that content; ``build`` makes it with the Docker engine; ``push``
sends it to a registry from this process. The image answers by the layout of ``cloudml.runtime.entrypoint``.
"""

from __future__ import annotations

from cloudml.images.building import Built, build
from cloudml.images.recipe import Recipe, recipe

__all__ = ["Built", "Recipe", "build", "recipe"]
