"""The same tree gives the same layers, whoever builds it and when."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from deploy import image
from deploy.image import ROOT, SERVICE, Source
from deploy.shell import setting

LOADTESTS = Source(ROOT / "loadtests", ROOT, "-loadtests")
pytestmark = pytest.mark.needs("engine", "git")


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def checkout(folder: Path) -> None:
    """The tree's files again, new, and for nobody else to read."""
    names = run(
        *("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"), "--exclude-standard"
    )
    for name in names.split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copyfile(ROOT / name, folder / name)
            (folder / name).chmod(0o600)


def layers(source: Source, tag: str, *arguments: str) -> list[str]:
    """What `make` would build there of the image, with the facts of this tree."""
    run(
        *("docker", "buildx", "build", "--quiet", "--load", "--provenance=false", f"--tag={tag}"),
        *arguments,
        *(f"--file={source.folder / 'Dockerfile'}", *image.build_args(ROOT / source.folder.name)),
        *shlex.split(setting("BUILD_ARGS")),
        str(source.context),
    )
    found = run("docker", "image", "inspect", "--format={{json .RootFS.Layers}}", tag)
    run("docker", "rmi", tag)
    return list(json.loads(found))


@pytest.mark.parametrize("source", [SERVICE, LOADTESTS], ids=["service", "loadtests"])
def test_another_checkout_gives_the_same_layers(source: Source, tmp_path: Path) -> None:
    """The tree's own image may come from the cache of an earlier build; the other is built anew."""
    checkout(tmp_path)
    folder, context = (
        tmp_path / path.relative_to(ROOT) for path in (source.folder, source.context)
    )
    name = f"slipway-test:layers{source.suffix}"
    here = layers(source, name)
    assert layers(Source(folder, context), f"{name}-again", "--no-cache") == here
