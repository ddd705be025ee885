"""Everything that cloudml raises.

    CloudmlError                     exit code 1
    ├── ConfigError (ValueError)       3   the file, a spec or an option is not right
    ├── Unsupported                    8   this provider cannot do that: reason and way out
    ├── MissingExtra (ImportError)     1   an optional dependency is not installed
    ├── ProviderError                  1   a provider answered with an error
    │   ├── Invalid (ValueError)       3   it refused the request itself
    │   ├── Unauthenticated (PermissionError)  4
    │   ├── Denied (PermissionError)   4
    │   ├── NotFound (LookupError)     5
    │   ├── AlreadyExists              5
    │   ├── PreconditionFailed         5   the thing is in a state that forbids the call
    │   ├── QuotaExceeded              1
    │   ├── Transient                  1   worth another try
    │   │   ├── Throttled
    │   │   ├── Unavailable (ConnectionError)   a 5xx, or no connection; a write becomes AnswerLost
    │   │   └── AnswerLost (ConnectionError)    the request may have been carried out
    │   └── ModelError                 1   the model behind an endpoint refused or failed
    ├── Conflict                       5   somebody else's resource, or somebody else's change
    ├── RunFailed                      6   a job, a version or a deployment failed
    ├── RolledBack                     7   what ran before runs again
    ├── NotConverging                  1   every call was sent, and the world still differs
    ├── GateFailed                     7
    ├── DriftFound                     7
    └── Timeout (TimeoutError)         9   still running when the deadline passed

Where a builtin says the same, the error inherits it too, so ``except LookupError`` works.
"""

from __future__ import annotations

from typing import ClassVar


class CloudmlError(Exception):
    """The root. ``hint`` says what to do, below a traceback too; ``exit_code`` is what the command line ends with."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint: str | None = None
        self.advise(hint)

    def advise(self, hint: str | None) -> None:
        """Adds a hint to an error that has none."""
        if hint and not self.hint:
            self.hint = hint
            self.add_note(f"hint: {hint}")


class ConfigError(CloudmlError, ValueError):
    """A file, a spec or an option is not right; ``where`` is ``file:line:column`` when known."""

    exit_code = 3

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.where = where


class Unsupported(CloudmlError):
    """The provider cannot do what the spec asks; raised before anything is sent."""

    exit_code = 8


class MissingExtra(CloudmlError, ImportError):
    """An optional dependency is missing; the hint is the pip command."""


class ProviderError(CloudmlError):
    """A provider answered with an error; raised ``from`` the native one."""

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        operation: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.provider = provider
        self.operation = operation
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        at = " ".join(part for part in (self.provider, self.operation) if part)
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{at}: {super().__str__()}{request}" if at else f"{super().__str__()}{request}"


class Invalid(ProviderError, ValueError):
    """The provider refused the request itself; sending it again would not help."""

    exit_code = 3


class Unauthenticated(ProviderError, PermissionError):
    """No credentials, or credentials that are not accepted."""

    exit_code = 4


class Denied(ProviderError, PermissionError):
    """The credentials are fine and the permission is missing."""

    exit_code = 4


class NotFound(ProviderError, LookupError):
    exit_code = 5


class AlreadyExists(ProviderError):
    """The name is taken. For the loop this is an answer, not an error: it looks again."""

    exit_code = 5


class PreconditionFailed(ProviderError):
    """The resource is in a state that forbids the call, or changed since it was read."""

    exit_code = 5


class QuotaExceeded(ProviderError):
    """The account may not have more; waiting a few seconds does not help."""


class Transient(ProviderError):
    """Worth another try."""


class Throttled(Transient):
    """Refused for its rate; nothing was done. ``retry_after`` is in seconds, if the provider said."""


class Unavailable(Transient, ConnectionError):
    """No connection, or a 5xx. Of a write it is not known whether it was carried out: the core makes it AnswerLost."""


class AnswerLost(Transient, ConnectionError):
    """The request went out and no answer came back: it may have been carried out."""


class ModelError(ProviderError):
    """The model behind an endpoint refused the request or failed on it; ``status`` is its own HTTP status."""

    def __init__(self, message: str, *, status: int, provider: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, provider=provider, hint=hint)
        self.status = status
        self.exit_code = 3 if status < 500 else 1  # type: ignore[misc]  # the request's fault, or the model's


class Conflict(CloudmlError):
    """The resource belongs to somebody else, or somebody else changed it at the same time."""

    exit_code = 5


class RunFailed(CloudmlError):
    """A job, a model version or a deployment reached a failed state."""

    exit_code = 6


class RolledBack(CloudmlError):
    """The provider took the change and went back to what ran before."""

    exit_code = 7


class NotConverging(CloudmlError):
    """Every call was sent and answered, and what is observed still differs from what is wanted."""


class GateFailed(CloudmlError):
    """A model did not pass one of its gates, so it was not registered."""

    exit_code = 7


class DriftFound(CloudmlError):
    """A monitor found drift and the caller asked to fail on it."""

    exit_code = 7


class Timeout(CloudmlError, TimeoutError):
    """The deadline passed; what was started is still running."""

    exit_code = 9
