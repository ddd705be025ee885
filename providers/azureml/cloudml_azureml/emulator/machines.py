"""Sizes of machines that there are, so that a name that is none is refused before anything waits for it.

Jobs take the families of virtual machines that Azure ML's compute documents, endpoints those of its own list
(learn.microsoft.com: concept-compute-target, reference-managed-online-endpoints-vm-sku-list). Names have no case. That
the service refuses an unknown name is known; its words are not, so these are ours.
"""

from __future__ import annotations

from collections.abc import Iterable

from cloudml_azureml.emulator.answers import invalid

GENERAL = (2, 4, 8, 16, 32, 48, 64)
FAMILIES: tuple[tuple[str, Iterable[int]], ...] = (
    ("Standard_D{}_v2", (1, 2, 3, 4, 5, 11, 12, 13, 14, 15)),
    ("Standard_DS{}_v2", (1, 2, 3, 4, 5, 11, 12, 13, 14, 15)),
    *((f"Standard_D{{}}{kind}", (*GENERAL, 96)) for kind in ("a_v4", "as_v4", "s_v5", "as_v5", "ads_v5", "ds_v5")),
    *((f"Standard_D{{}}{kind}", GENERAL) for kind in ("_v3", "s_v3", "_v4", "s_v4", "d_v4", "ds_v4")),
    *((f"Standard_E{{}}{kind}", (*GENERAL, 20)) for kind in ("_v3", "s_v3", "_v4", "s_v4", "ds_v4")),
    *((f"Standard_E{{}}{kind}", (*GENERAL, 20, 96)) for kind in ("s_v5", "as_v4", "as_v5", "ads_v5")),
    ("Standard_F{}s_v2", (*GENERAL, 72)),
    ("Standard_FX{}mds", (4, 12, 24, 36, 48)),
    ("Standard_M{}ms", (8, 16, 32, 64, 128)),
    *((f"Standard_NC{{}}s_v{version}", (6, 12, 24)) for version in (2, 3)),
    ("Standard_NC{}as_T4_v3", (4, 8, 16, 64)),
    ("Standard_NC{}ads_A100_v4", (24, 48, 96)),
    ("Standard_NC{}ads_H100_v5", (40,)),
    ("Standard_NC{}adis_H100_v5", (80,)),
    ("Standard_ND{}rs_v2", (40,)),
    ("Standard_ND{}asr_v4", (96,)),
    ("Standard_ND{}amsr_A100_v4", (96,)),
    ("Standard_ND{}isr_H100_v5", (96,)),
    ("Standard_NV{}ads_A10_v5", (6, 12, 18, 36, 72)),
)
# What managed endpoints take of them.
SERVING = (
    *("Standard_DS{}_v2", "Standard_D{}a_v4", "Standard_D{}as_v4", "Standard_F{}s_v2", "Standard_FX{}mds"),
    *("Standard_E{}s_v3", "Standard_NC{}s_v2", "Standard_NC{}s_v3", "Standard_NC{}as_T4_v3", "Standard_ND{}rs_v2"),
    *("Standard_NC{}ads_A100_v4", "Standard_ND{}asr_v4", "Standard_ND{}amsr_A100_v4", "Standard_NV{}ads_A10_v5"),
    *("Standard_NC{}ads_H100_v5", "Standard_NC{}adis_H100_v5", "Standard_ND{}isr_H100_v5"),
)


def _names(families: Iterable[tuple[str, Iterable[int]]]) -> frozenset[str]:
    return frozenset(family.format(size).lower() for family, sizes in families for size in sizes)


FOR_JOBS = _names(FAMILIES)
FOR_ENDPOINTS = _names(each for each in FAMILIES if each[0] in SERVING)


def check(place: str, size: str | None, known: frozenset[str]) -> None:
    """Raises Refused for a size that there is not; ``place`` is where in the body it stands."""
    if size and size.lower() not in known:
        raise invalid(f"{place}: the VM size '{size}' is not known, or not supported here")
