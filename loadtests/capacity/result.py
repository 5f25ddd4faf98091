"""What follows from the steps of a search: for capacity.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import advice, limits
from .measure import Step
from .search import Found
from .usage import cores

Json = dict[str, Any]


def result(pods: int, found: Found, steps: Sequence[Step], gunicorn: Mapping[str, Any]) -> Json:
    """Of so many pods, with the values of their gunicorn."""
    limit = cores(str(gunicorn["resources"]["limits"]["cpu"]))
    told: Json = {
        "gunicorn": {
            "processes": gunicorn["processes"],
            "threads": gunicorn["threads"],
            "cpu_limit": limit,
        },
        "kept": None if found.kept is None else round(found.kept, 1),
        "broken": None if found.broken is None else round(found.broken, 1),
        "limiting": at_broken(found, steps),
        "steps": [one.json() for one in steps],
    }
    if found.kept is None:
        return told
    kept = next(one for one in steps if one.offered == found.kept and one.is_kept)
    used = kept.cores["gunicorn"] / pods
    request = advice.cpu_request(used)
    processes = advice.processes(used, limit)
    seen = [(one.offered / pods, one.cores["gunicorn"] / pods) for one in steps if one.is_kept]
    told |= {
        "cores": round(kept.cores["gunicorn"] + kept.cores["nginx"], 2),
        "per_core": round(found.kept / (kept.cores["gunicorn"] + kept.cores["nginx"]), 1),
        "per_core_of_limit": round(found.kept / (limit * pods), 1),
        "recommended": {
            "processes": processes,
            "threads": advice.threads(found.kept / pods, kept.seconds, processes),
            "cpu_request": request,
            "hpa_cpu": advice.hpa_cpu(found.kept / pods, seen, request),
        },
    }
    return told


def at_broken(found: Found, steps: Sequence[Step]) -> str:
    """What ran out at the least rate that was not kept, as its last step has it."""
    if found.broken is None:
        return "nothing, up to the last rate"
    last = [one for one in steps if one.offered == found.broken][-1]
    if last.limiting != limits.NODE:
        return last.limiting
    return f"{limits.NODE}, of which others used {last.others:.1f} cores"
