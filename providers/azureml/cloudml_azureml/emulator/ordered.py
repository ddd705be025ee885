"""Faults that were ordered, in the service's own words: calls it refuses, operations that it takes and that fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from cloudml.emulation.faults import Faults, Trouble
from cloudml_azureml.emulator.answers import Refused

REFUSING = (Trouble.THROTTLE, Trouble.UNAVAILABLE, Trouble.QUOTA, Trouble.SLOW, Trouble.LOSE, Trouble.DENY)
REFUSED: Mapping[Trouble, Callable[[], Refused]] = {
    Trouble.THROTTLE: lambda: Refused(
        429, "TooManyRequests", "Too many requests. Try again later.", headers={"Retry-After": "1"}
    ),
    Trouble.UNAVAILABLE: lambda: Refused(503, "ServiceUnavailable", "The service is temporarily unavailable."),
    Trouble.QUOTA: lambda: Refused(
        400,
        "BadRequest",
        "The request is invalid.",
        [
            (
                "OutOfQuota",
                "Not enough quota available in SUBSCRIPTION SCOPE. Please see https://aka.ms/oe-tsg#error-outofquota",
            )
        ],
    ),
}
CANCELED = "OperationCanceled"
ENDING: Mapping[Trouble, Callable[[], Refused]] = {
    Trouble.FAIL: lambda: Refused(500, "InternalServerError", "An internal error occurred. Please try again."),
    Trouble.CANCEL: lambda: Refused(409, CANCELED, "The operation was canceled."),
}


def meet(faults: Faults, operation: str, target: str, action: str = "", scope: str = "") -> bool:
    """Meets what is ordered for one call; whether its answer is to be lost. Raises Refused.

    ``action`` is what a role must allow on ``scope`` for it.
    """
    fault = faults.take(operation, target, *REFUSING)
    if fault and fault.trouble is Trouble.DENY:
        said = f"The client does not have authorization to perform action '{action}' over scope '{scope}' or the scope"
        said += " is invalid. If access was recently granted, please refresh your credentials."
        raise Refused(403, "AuthorizationFailed", said)
    if fault and fault.trouble in REFUSED:
        raise REFUSED[fault.trouble]()
    if fault and fault.trouble is Trouble.SLOW:
        time.sleep(fault.seconds)
    return fault is not None and fault.trouble is Trouble.LOSE


def doomed(faults: Faults, operation: str, target: str, size: str = "") -> Future[None] | None:
    """The work of an operation that is ordered to end badly; None if none is.

    ``size`` is what there may be no capacity of.
    """
    fault = faults.take(operation, target, *((*ENDING, Trouble.CAPACITY) if size else ENDING))
    if fault is None:
        return None
    work: Future[None] = Future()
    if fault.trouble is Trouble.CAPACITY:
        said = f"The specified VM size {size} failed to provision due to a lack of Azure Machine Learning capacity."
        work.set_exception(Refused(409, "OutOfCapacity", said))
    else:
        work.set_exception(ENDING[fault.trouble]())
    return work
