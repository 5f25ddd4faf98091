"""An image: built, named by its content, and brought to where the cluster finds it."""

import re
import shlex
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .context import Context
from .shell import Failure, attempt, need, run, say, setting, show

ROOT = Path(__file__).parents[2]
NAME = "slipway"
BY_DIGEST = re.compile(r"(?P<repository>[^@]+):(?P<tag>[\w.-]+@sha256:[0-9a-f]{64})")


@dataclass(frozen=True)
class Source:
    """What an image is made of: a folder with a Dockerfile and a pyproject.toml."""

    folder: Path
    # What the Dockerfile may copy from.
    context: Path
    # Behind the name of the service's own image.
    suffix: str = ""

    @property
    def built(self) -> str:
        return f"{NAME}{self.suffix}:latest"


SERVICE = Source(ROOT / "service", ROOT / "service")


@dataclass(frozen=True)
class Image:
    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


def check_engine() -> None:
    need("docker")
    if attempt("docker", "version", "--format={{.Server.Version}}") is None:
        raise Failure("the Docker engine does not answer. Is it running? docker version")


def build_args(folder: Path) -> list[str]:
    """What the image says about its source: the last commit that changed the folder."""
    with (folder / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    git = ("git", "-C", str(folder))
    log = (attempt(*git, "log", "-1", "--format=%H %ct", "--", ".") or "").split()
    commit, time = log if log else ("unknown", "0")
    if log and attempt(*git, "status", "--porcelain", "--", "."):
        commit += "-dirty"
    facts = {"VERSION": version, "COMMIT": commit, "SOURCE_DATE_EPOCH": time}
    return [f"--build-arg={name}={value}" for name, value in facts.items()]


def build(source: Source = SERVICE) -> None:
    """Build `source.built`."""
    what = f"building the image {source.built}"
    buildx(source, "--load", "--provenance=false", f"--tag={source.built}", what=what)


def buildx(source: Source, *arguments: str, what: str) -> None:
    """Build; `BUILD_ARGS` are further arguments of `docker buildx build`."""
    check_engine()
    if attempt("docker", "buildx", "version") is None:
        raise Failure(
            "docker has no buildx plugin, which builds the image. "
            "Install docker-buildx (Debian) or docker-buildx-plugin (Docker's packages)"
        )
    say(what)
    show(
        *("docker", "buildx", "build", *arguments),
        f"--file={source.folder / 'Dockerfile'}",
        *build_args(source.folder),
        *shlex.split(setting("BUILD_ARGS")),
        str(source.context),
        what=what,
    )


def by_content(built: str, suffix: str = "") -> Image:
    """The image under a tag made of its id; `suffix` as in its `Source`.

    The id is a hash over all that is in the image: the tag changes, and pods roll, when the image
    did, and never else. A commit that leaves the service alone changes nothing.
    """
    ident = attempt("docker", "image", "inspect", "--format={{.Id}}", built)
    if ident is None:
        raise Failure(f"there is no image {built!r} in the Docker engine. Build it: make image")
    repository = setting("IMAGE_REPOSITORY", NAME) + suffix
    image = Image(repository, ident.strip().removeprefix("sha256:")[:12])
    run("docker", "tag", built, str(image), what="naming the image by its content")
    return image


def by_digest(reference: str) -> Image | None:
    """The image that `registry/name:1.2.3@sha256:…` names, which whoever needs it pulls."""
    found = BY_DIGEST.fullmatch(reference)
    return Image(found["repository"], found["tag"]) if found else None


def hand_over_command(context: Context, image: Image) -> list[str]:
    """How the cluster gets the image."""
    if load := setting("IMAGE_LOAD"):
        return [*shlex.split(load), str(image)]
    if setting("IMAGE_REPOSITORY"):
        return ["docker", "push", "--quiet", str(image)]
    commands = {
        "kind": ["kind", "load", "docker-image", str(image), "--name", context.cluster],
        "minikube": ["minikube", "--profile", context.cluster, "image", "load", str(image)],
        "k3d": ["k3d", "image", "import", str(image), "--cluster", context.cluster],
    }
    if context.tool not in commands:
        raise Failure(
            f"context {context.name!r} is not of kind, minikube or k3d, so the image needs a way: "
            "IMAGE_REPOSITORY=registry/name pushes it, IMAGE_LOAD='command' hands its name over"
        )
    return commands[context.tool]


def hand_over(context: Context, image: Image) -> None:
    command = hand_over_command(context, image)
    need(command[0])
    say(f"handing over {image}: {shlex.join(command)}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise Failure(f"handing over the image with `{shlex.join(command)}` failed: {said}")
