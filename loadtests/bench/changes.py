"""What became slower or faster since the figures that are kept, and what is too slow.

Ratios alone are compared: they are of the same rounds on the same machine, whichever it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .rounds import Spread
from .servers import DIRECT, KIT

Path = tuple[str, ...]


def ratios(result: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Spread]]:
    for name, value in result.items():
        if not isinstance(value, dict):
            continue
        if name.removeprefix("cpu_").startswith(("to_", "ratio")):
            yield (*path, name), value
        else:
            yield from ratios(value, (*path, name))


def changes(kept: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """A line for each ratio that lies beyond the spread of both."""
    former = dict(ratios(kept))
    lines = []
    for path, now in ratios(result):
        was = former.get(path)
        if was and (now["max"] < was["min"] or now["min"] > was["max"]):
            verdict = "slower" if now["max"] < was["min"] else "faster"
            lines.append(f"{verdict}: {', '.join(path)}: {told(now)}, was {told(was)}")
    return lines


def short_of_it(result: Mapping[str, Any]) -> list[str]:
    """Where the kit, with all its telemetry, does not reach whom it has to reach.

    That is bare gunicorn on JSON hello, and instrumented FastAPI on every route.
    """
    lines = []
    for route, ways in result.get("throughput", {}).items():
        for way, contenders in ways.items():
            for ratio, other in (("to_gunicorn", "bare gunicorn"), ("to_fastapi", "FastAPI")):
                seen = contenders[KIT].get(ratio)
                asked = ratio == "to_fastapi" or (route, way) == ("hello", DIRECT)
                if asked and seen and seen["median"] < 1:
                    lines.append(f"short of {other}: {route} {way}: {told(seen)}")
    return lines


def told(seen: Spread) -> str:
    return f"{seen['median']:,g} ({seen['min']:,g} to {seen['max']:,g})"
