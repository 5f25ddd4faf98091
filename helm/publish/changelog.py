"""CHANGELOG.md, in the form of https://keepachangelog.com/en/1.1.0/."""

import re
from datetime import date
from pathlib import Path

from deploy.shell import Failure

NAME = "CHANGELOG.md"
HEADING = re.compile(r"^## \[(.+?)\](?: - (.+))?$", re.MULTILINE)


def section(root: Path, version: str) -> str:
    """What the changelog says of a version, without the heading; a Failure unless it is dated."""
    text = (root / NAME).read_text()
    headings = list(HEADING.finditer(text))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        if heading[1] == version:
            _check_date(heading)
            if found := text[heading.end() : following.start() if following else None].strip():
                return found
            raise Failure(f"{NAME} says nothing below {heading[0]!r}. Say what changed")
    raise Failure(
        f"{NAME} has no section '## [{version}] - YYYY-MM-DD'. "
        "Name what stands under [Unreleased] so, and commit it"
    )


def _check_date(heading: re.Match[str]) -> None:
    try:
        date.fromisoformat(heading[2] or "")
    except ValueError:
        raise Failure(f"{NAME}: {heading[0]!r} has no date. Write '… - YYYY-MM-DD'") from None
