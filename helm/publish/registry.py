"""Image and chart in a registry: pushed, described, signed, verified; each named by its digest."""

import json
import re
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from deploy import image
from deploy.image import Image
from deploy.release import HELM
from deploy.shell import Failure, last_line, need, run, say, setting, show

from . import version

CHART = "slipway"
# What `cosign signing-config create` and `trusted-root create` make of nothing: a signature by a
# key then asks no transparency log and no timestamp authority, and reaches the registry alone.
OFFLINE = Path(__file__).with_name("offline")
ISSUER = "https://token.actions.githubusercontent.com"
WORKFLOW = ".github/workflows/release.yaml"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def push(root: Path) -> None:
    """Build for all platforms, and push under the version, with SBOM and provenance."""
    repository = setting("IMAGE")
    if not repository or "@" in repository or ":" in repository.rpartition("/")[2]:
        raise Failure(f"where to? {_usage('push', repository, 'registry.example.org/slipway')}")
    tag = version.current(root)
    attested = setting("ATTESTATIONS", "1") != "0"
    with tempfile.TemporaryDirectory() as folder:
        facts = Path(folder, "facts.json")
        image.buildx(
            image.SERVICE,
            *("--push", f"--tag={repository}:{tag}", f"--metadata-file={facts}"),
            f"--platform={setting('PLATFORMS', 'linux/amd64,linux/arm64')}",
            *(("--provenance=mode=max", "--sbom=true") if attested else ("--provenance=false",)),
            what=f"building and pushing {repository}:{tag}",
        )
        digest = json.loads(facts.read_text())["containerimage.digest"]
    _tell(root, "image", Image(repository, f"{tag}@{digest}"))


def push_chart(root: Path) -> None:
    """Package the chart, and push it to a registry."""
    charts = setting("CHARTS")
    if not charts.startswith("oci://"):
        example = "oci://registry.example.org/charts"
        raise Failure(f"where to? {_usage('push-chart', charts, example, variable='CHARTS')}")
    need("helm")
    tag = version.current(root)
    # As Docker and containerd do, and Helm does not: a registry of this machine has no certificate.
    plain = ["--plain-http"] if urlsplit(charts).hostname in {"localhost", "127.0.0.1"} else []
    with tempfile.TemporaryDirectory() as folder:
        package = ("helm", "package", str(HELM / CHART), f"--destination={folder}")
        run(*package, what="packaging the chart")
        archive = str(Path(folder, f"{CHART}-{tag}.tgz"))
        push = subprocess.run(
            ["helm", "push", archive, charts, *plain], capture_output=True, text=True, check=False
        )
    # Helm tells it on standard error.
    digest = DIGEST.search(push.stderr)
    if push.returncode or not digest:
        raise Failure(f"pushing the chart to {charts} failed: {last_line(push.stderr)}")
    repository = f"{charts.removeprefix('oci://').rstrip('/')}/{CHART}"
    _tell(root, "chart", Image(repository, f"{tag}@{digest[0]}"))


def sbom(root: Path) -> None:
    """Write what is in an image as SPDX."""
    reference = setting("IMAGE", image.SERVICE.built)
    need("syft")
    file = _dist(root) / "sbom.spdx.json"
    source = "registry" if image.by_digest(reference) else "docker"
    say(f"reading {reference}")
    run("syft", "scan", reference, f"--from={source}", f"--output=spdx-json={file}", what="reading")
    packages = json.loads(file.read_text())["packages"]
    say(f"{file.relative_to(root)} lists {len(packages)} packages")


def sign() -> None:
    """Sign what a digest names: with a key, or else as who the provider of OpenID Connect says."""
    reference = str(_by_digest("sign"))
    need("cosign")
    way = []
    if key := setting("COSIGN_KEY"):
        config, root_of_trust = OFFLINE / "signingconfig.json", OFFLINE / "trustedroot.json"
        way = [f"--key={key}", f"--signing-config={config}", f"--trusted-root={root_of_trust}"]
    # It may ask for a password, or open a page to log in.
    show("cosign", "sign", "--yes", *way, reference, what="signing")
    say(f"signed {reference}")


def verify() -> None:
    """Check a signature: by a key, or else that the release workflow made it for that version."""
    signed = _by_digest("verify")
    need("cosign")
    if key := setting("COSIGN_PUB"):
        by, way = key, [f"--key={key}", "--insecure-ignore-tlog"]
    else:
        by = _identity(signed)
        way = [f"--certificate-identity={by}", f"--certificate-oidc-issuer={ISSUER}"]
    run("cosign", "verify", *way, str(signed), what=f"verifying {signed}")
    say(f"{signed} is signed by {by}")


def _identity(signed: Image) -> str:
    repository, tag = setting("GITHUB_REPOSITORY"), signed.tag.split("@")[0]
    if not repository:
        raise Failure(
            "signed by whom? COSIGN_PUB=file names a public key, "
            "GITHUB_REPOSITORY=owner/name whose workflow made the release"
        )
    return f"https://github.com/{repository}/{WORKFLOW}@refs/tags/v{tag}"


def _by_digest(action: str) -> Image:
    given = setting("IMAGE")
    if found := image.by_digest(given):
        return found
    example = "registry.example.org/slipway:1.2.3@sha256:…"
    raise Failure(f"which image, by digest? {_usage(action, given, example)}")


def _usage(action: str, given: str, example: str, variable: str = "IMAGE") -> str:
    seen = f"{variable}={given!r} is none. " if given else ""
    return f"{seen}make {action} {variable}={example}"


def _tell(root: Path, what: str, pushed: Image) -> None:
    file = _dist(root) / what
    file.write_text(f"{pushed}\n")
    say(f"{pushed} ({file.relative_to(root)})")


def _dist(root: Path) -> Path:
    folder = root / "dist"
    folder.mkdir(exist_ok=True)
    return folder
