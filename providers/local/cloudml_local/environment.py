"""The environment that a process of ours is given: a chosen part of the caller's, and where cloudml itself is."""

from __future__ import annotations

import os
import site
from collections.abc import Iterable, Mapping
from pathlib import Path

import cloudml
from cloudml.errors import ConfigError

# Not the whole environment: it is written to a file, and a shell's may hold credentials that nobody meant for a model.
INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ"),
    *("PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SSL_CERT_FILE"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_INDEX_URL"),
)
# A process has no cores of its own; these keep numeric libraries to the number that was asked for.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def environment(own: Mapping[str, str], inherit: Iterable[str] = ()) -> dict[str, str]:
    """The whole environment of a task; ``own`` wins, ``inherit`` names further variables of the caller's."""
    kept = {name: os.environ[name] for name in (*INHERITED, *inherit) if name in os.environ}
    given = [entry for entry in kept.get("PYTHONPATH", "").split(os.pathsep) if entry]
    installed = {*site.getsitepackages(), site.getusersitepackages()}
    ours = [root for root in _roots() if root not in installed and root not in given]
    if path := os.pathsep.join(given + ours):
        kept["PYTHONPATH"] = path
    return {**kept, "PYTHONUNBUFFERED": "1", **own}


def cpus(configured: int | None = None) -> int:
    """How many CPUs jobs may take together: as configured, else ``$CLOUDML_CPUS``, else those of this process."""
    if configured:
        return configured
    given = os.environ.get("CLOUDML_CPUS", "")
    if given and not (given.isdecimal() and int(given)):
        raise ConfigError(f"CLOUDML_CPUS={given!r} is not a number of CPUs")
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(given) if given else ours or 1


def threads(cpu: float) -> dict[str, str]:
    """The variables that keep numeric libraries to ``cpu`` threads, at least one."""
    return dict.fromkeys(THREADS, str(max(1, int(cpu))))


def _roots() -> tuple[str, ...]:
    """Where ``cloudml`` and this package are imported from: in a checkout, nobody else knows."""
    assert cloudml.__file__ is not None
    found = (Path(cloudml.__file__).resolve().parent.parent, Path(__file__).resolve().parent.parent)
    return tuple(dict.fromkeys(str(root) for root in found))
