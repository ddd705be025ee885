"""A cron line as SageMaker's schedule expression, which knows full hours alone.

Source: botocore's service model, ScheduleConfig.ScheduleExpression: ``cron(0 * ? * * *)``, ``cron(0 [00-23] ? * * *)``
and ``cron(0 [00-23]/[01-24] ? * * *)``, in UTC.
"""

from __future__ import annotations

import re

from cloudml.errors import ConfigError

ITEM = re.compile(r"(?:(?P<every>\*)|(?P<first>\d{1,2})(?:-(?P<last>\d{1,2}))?)(?:/(?P<step>\d{1,2}))?")
DAY = 24
WAYS = "every hour, every 2, 3, 4, 6, 8 or 12 hours, or once a day, at a full hour"


def expression(schedule: str, where: str) -> str:
    """ConfigError for a line that SageMaker has no expression for."""
    minute, hour, *days = schedule.split()
    hours = _hours(hour)
    first, step = (hours[0], DAY // len(hours)) if hours else (0, 0)
    even = bool(hours) and hours == [*range(first, DAY, step)] and DAY % len(hours) == 0 and first < step
    if minute not in ("0", "00") or days != ["*"] * 3 or not even:
        hint = "or leave 'schedule' out, and run 'cloudml monitors run' from any cron"
        raise ConfigError(f"{where}: SageMaker starts monitors {WAYS}, not by {schedule!r}", hint=hint)
    if step == 1:
        return "cron(0 * ? * * *)"
    return f"cron(0 {first} ? * * *)" if step == DAY else f"cron(0 {first}/{step} ? * * *)"


def _hours(field: str) -> list[int]:
    """The hours that a field names; none where it is no field of hours."""
    found: set[int] = set()
    for item in field.split(","):
        match = ITEM.fullmatch(item)
        if match is None or match["step"] in ("0", "00"):
            return []
        open_ended = match["every"] or (match["step"] and not match["last"])
        first = int(match["first"] or 0)
        last = DAY - 1 if open_ended else int(match["last"] or first)
        if last >= DAY or first > last:
            return []
        found |= {*range(first, last + 1, int(match["step"] or 1))}
    return sorted(found)
