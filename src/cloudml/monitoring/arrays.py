"""The one door to numpy: where it is missing, the answer is the pip command."""

from __future__ import annotations

from cloudml.errors import MissingExtra

try:
    import numpy as np
    import numpy.typing as npt
except ImportError as error:
    raise MissingExtra("monitoring needs numpy", hint='pip install "cloudml-sdk[serve]"') from error

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

__all__ = ["Floats", "Ints", "np", "npt"]
