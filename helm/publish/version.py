"""The version: it stands in service/pyproject.toml, and every other place has a copy."""

import re
from dataclasses import dataclass
from pathlib import Path

from deploy.shell import Failure

NUMBER = r"(0|[1-9]\d*)"
# Of semver.org without its suffixes: Python writes those in another form than Helm.
VERSION = re.compile(rf"{NUMBER}\.{NUMBER}\.{NUMBER}")
IN_PROJECT = r'^version = "(.*)"$'
IN_LOCK = r'^name = "{}"\nversion = "(.*)"$'


@dataclass(frozen=True)
class Place:
    """A file that holds the version, and the pattern whose group it is."""

    file: str
    pattern: str

    def read(self, root: Path) -> str:
        return self._match((root / self.file).read_text())[1]

    def rewritten(self, text: str, version: str) -> str:
        start, end = self._match(text).span(1)
        return text[:start] + version + text[end:]

    def _match(self, text: str) -> re.Match[str]:
        if found := re.search(self.pattern, text, re.MULTILINE):
            return found
        raise Failure(f"{self.file} has no version: no line matches {self.pattern!r}")


SOURCE = Place("service/pyproject.toml", IN_PROJECT)
COPIES = (
    Place("service/uv.lock", IN_LOCK.format("slipway")),
    Place("loadtests/pyproject.toml", IN_PROJECT),
    Place("loadtests/uv.lock", IN_LOCK.format("slipway-load")),
    Place("helm/slipway/Chart.yaml", r"^version: (.*)$"),
    Place("helm/slipway/Chart.yaml", r'^appVersion: "(.*)"$'),
    Place("helm/loadtests/Chart.yaml", r"^version: (.*)$"),
    Place("helm/observability/Chart.yaml", r"^version: (.*)$"),
)


def parse(text: str) -> tuple[int, ...]:
    if found := VERSION.fullmatch(text):
        return tuple(int(number) for number in found.groups())
    raise Failure(f"{text!r} is not a version MAJOR.MINOR.PATCH, such as 1.2.3")


def current(root: Path) -> str:
    return SOURCE.read(root)


def stale(root: Path) -> list[str]:
    """The copies that differ from the source, as `file: version`."""
    version = current(root)
    found = ((place.file, place.read(root)) for place in COPIES)
    return [f"{file}: {copy}" for file, copy in found if copy != version]


def bumped(root: Path, version: str) -> dict[Path, str]:
    """What the files are to be, for that version."""
    texts: dict[Path, str] = {}
    for place in (SOURCE, *COPIES):
        file = root / place.file
        texts[file] = place.rewritten(texts.get(file) or file.read_text(), version)
    return texts
