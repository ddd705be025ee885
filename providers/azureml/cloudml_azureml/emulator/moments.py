"""When a schedule's trigger is due: cron expressions of five fields and recurrences, by the minute, in a zone.

Of a cron expression the service ignores the days of the month and the months, as if they were ``*``
(learn.microsoft.com, how-to-schedule-pipeline-job).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cloudml_azureml.emulator.answers import Document, invalid

FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))  # minute, hour, day of the month, month, day of the week
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Windows' names for zones, which Azure takes, where they are not IANA's.
ZONES = {"UTC": "UTC", "Pacific Standard Time": "America/Los_Angeles", "Eastern Standard Time": "America/New_York"}
ZONES |= {"W. Europe Standard Time": "Europe/Berlin", "GMT Standard Time": "Europe/London"}
STEPS = {
    "Minute": timedelta(minutes=1),
    "Hour": timedelta(hours=1),
    "Day": timedelta(days=1),
    "Week": timedelta(weeks=1),
}


def check(trigger: Document) -> None:
    """Raises Refused for a trigger that can never be due, or whose zone is not known."""
    for word in ("startTime", "endTime"):
        try:
            _time(trigger, word, None)
        except ValueError as bad:
            raise invalid(f"trigger.{word}: '{trigger[word]}' is not a time") from bad
    zone(trigger)
    if trigger["triggerType"] == "Cron":
        _parsed(trigger["expression"])
    elif trigger["interval"] < 1:
        raise invalid("trigger.interval: must be at least 1")


def zone(trigger: Document) -> ZoneInfo:
    name = trigger.get("timeZone") or "UTC"
    try:
        return ZoneInfo(ZONES.get(name, name))
    except (ZoneInfoNotFoundError, ValueError) as unknown:
        raise invalid(f"trigger.timeZone: '{name}' is not known here") from unknown


def due(trigger: Document, moment: datetime, created: datetime) -> bool:
    """Whether it is due in the minute of ``moment``; ``created`` is where counting begins without a startTime."""
    start, end = _time(trigger, "startTime", created), _time(trigger, "endTime", None)
    if (start and moment < start.replace(second=0, microsecond=0)) or (end and moment > end):
        return False
    local = moment.astimezone(zone(trigger))
    if trigger["triggerType"] == "Cron":
        return _cron(trigger["expression"], local)
    return _recurs(trigger, local, (start or created).astimezone(local.tzinfo))


def _time(trigger: Document, word: str, default: datetime | None) -> datetime | None:
    if not trigger.get(word):
        return default
    found = datetime.fromisoformat(trigger[word].replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=zone(trigger)).astimezone(UTC)


def _parsed(expression: str) -> list[set[int]]:
    parts = expression.split()
    if len(parts) != len(FIELDS):
        raise invalid(f"trigger.expression: '{expression}' must have five fields")
    return [_field(part, low, high) for part, (low, high) in zip(parts, FIELDS, strict=True)]


def _field(part: str, low: int, high: int) -> set[int]:
    chosen: set[int] = set()
    try:
        for each in part.split(","):
            span, _, step = each.partition("/")
            first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
            chosen |= set(range(int(first), int(last or (high if step else first)) + 1, int(step or 1)))
    except ValueError as bad:
        raise invalid(f"trigger.expression: '{part}' is not understood") from bad
    if not chosen or min(chosen) < low or max(chosen) > high:
        raise invalid(f"trigger.expression: '{part}' is not between {low} and {high}")
    return chosen


def _cron(expression: str, moment: datetime) -> bool:
    minutes, hours, _, _, weekdays = _parsed(expression)
    in_week = bool({moment.isoweekday(), moment.isoweekday() % 7} & weekdays)
    return moment.minute in minutes and moment.hour in hours and in_week


def _recurs(trigger: Document, moment: datetime, start: datetime) -> bool:
    pattern = trigger.get("schedule") or {}
    frequency, interval = trigger["frequency"], trigger["interval"]
    if frequency == "Month":
        passed = (moment.year - start.year) * 12 + moment.month - start.month
        days = pattern.get("monthDays") or [start.day]
        fits = passed % interval == 0 and moment.day in days
    else:
        begin = start.replace(second=0, microsecond=0)
        if frequency in ("Day", "Week"):  # counted by the calendar, whatever the time of day
            begin = begin.replace(hour=moment.hour, minute=moment.minute)
        if frequency == "Week":
            begin -= timedelta(days=begin.weekday())
        fits = ((moment - begin) // STEPS[frequency]) % interval == 0
        if frequency == "Week":
            wanted = [each.lower() for each in pattern.get("weekDays") or [WEEKDAYS[start.weekday()]]]
            fits = fits and WEEKDAYS[moment.weekday()] in wanted
    if frequency == "Minute":
        return fits
    if frequency == "Hour":
        return fits and moment.minute in (pattern.get("minutes") or [start.minute])
    hours, minutes = pattern.get("hours") or [start.hour], pattern.get("minutes") or [start.minute]
    return fits and moment.hour in hours and moment.minute in minutes
