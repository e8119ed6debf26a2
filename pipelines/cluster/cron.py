"""When schedules fire: cron expressions as people and as Kubeflow write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from genpipe.errors import shown

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
# The fields of KFP's cron and their highest values.
CRON_FIELDS = {"second": 59, "minute": 59, "hour": 23, "day": 31, "month": 12, "weekday": 6}
DAY, WEEKDAY = 3, 5
NUMBER = r"[0-9]{1,9}"
VALUE = rf"({NUMBER}|[A-Za-z]{{3}})(-({NUMBER}|[A-Za-z]{{3}}))?(/{NUMBER})?"
# What KFP's parser (robfig/cron 1.2) and crontab both know; L, W and # are neither's.
CRON_FIELD = re.compile(rf"\*(/{NUMBER})?|{VALUE}(,{VALUE})*")


def kubeflow_cron(text: str) -> str:
    """Translate a cron expression to KFP's six fields, the second first.

    KFP would read five fields as second, minute, hour, day and month, and refuses 7 for Sunday.

    Args:
        text: five fields as in crontab, six with the second first, or ``@daily`` and the like.

    Raises:
        ValueError: it is not a schedule; the message names the field.
    """
    fields = MACROS.get(text.strip().lower(), text).split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise ValueError(
            "use five fields (minute hour day month weekday, e.g. '0 3 * * 1'), six with seconds "
            f"first, or one of {', '.join(MACROS)}"
        )
    for at in (DAY, WEEKDAY):
        fields[at] = "*" if fields[at] == "?" else fields[at]
    for (name, highest), field in zip(CRON_FIELDS.items(), fields, strict=True):
        if not CRON_FIELD.fullmatch(field):
            raise ValueError(f"{name} {shown(field)}: write *, */2, 5, 1-5, 1-5/2 or a list as 1,3")
        for step in re.findall(r"/(\d+)", field):
            if int(step) > highest:
                raise ValueError(f"{name} {shown(field)}: a step above {highest} is never reached")
        lowest, most = int(name in ("day", "month")), 7 if name == "weekday" else highest
        for number in re.findall(r"(?<![/\d])\d+", field):
            if not lowest <= int(number) <= most:
                raise ValueError(f"{name} {number} is out of range ({lowest}-{most})")
    try:
        parsed = CronSim(" ".join(fields), datetime.now(UTC))
    except CronSimError as error:
        name = str(error).removeprefix("Bad ")
        name = {"day-of-month": "day", "day-of-week": "weekday"}.get(name, name)
        value = shown(dict(zip(CRON_FIELDS, fields, strict=True)).get(name, text))
        told = (
            "it would never run, because no such date ever comes"
            if name == "day"
            else f"invalid {name} {value}: names are JAN-DEC and SUN-SAT, and ranges go upwards"
        )
        raise ValueError(told) from None
    if not fields[WEEKDAY].startswith("*"):
        days = {day % 7 for day in parsed.weekdays if isinstance(day, int)}
        fields[WEEKDAY] = ",".join(str(day) for day in sorted(days))
    return " ".join(fields)


def _zone(name: str) -> tzinfo:
    # UTC needs no time zone data, which slim images lack.
    return UTC if name == "UTC" else ZoneInfo(name)


def checked_time_zone(name: str) -> str:
    """A time zone's name, checked."""
    try:
        _zone(name)
    except (OSError, ValueError, KeyError):
        near = next(iter(get_close_matches(name, available_timezones(), n=1)), "Europe/Zurich")
        raise ValueError(f"unknown time zone: write UTC or a name like {near}") from None
    return name


def due(cron: str, time_zone: str, moment: datetime, *, before: bool = False) -> datetime:
    """The next time after a moment that KFP's ``cron`` names, or the last ``before`` it."""
    return next(CronSim(cron, moment.astimezone(_zone(time_zone)), reverse=before))


def next_run(cron: str, time_zone: str) -> str:
    """The next run's time from now on, to the minute."""
    return f"{due(cron, time_zone, datetime.now(UTC)):%Y-%m-%d %H:%M %Z}"
