"""What only this provider has: ``options.echo`` of a spec, checked like every other field."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class JobOptions(BaseModel):
    """``nice`` is how much the job leaves to others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nice: int = Field(default=0, ge=0, le=19)
