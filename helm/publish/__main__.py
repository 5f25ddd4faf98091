"""Make a version, push its image and chart, and let others check where they come from."""

import argparse
import sys

from deploy import shell
from deploy.image import ROOT

from . import changelog, registry, tag, version

VARIABLES = """\
environment (or `make` variables):
  VERSION            of release: the next version, MAJOR.MINOR.PATCH
  IMAGE              of push: where to (registry.example.org/slipway);
                     of sbom, sign, verify: the image, as dist/image has it
  PLATFORMS          of push (linux/amd64,linux/arm64)
  ATTESTATIONS=0     push without SBOM and provenance; Docker's own builder can make none
                     unless it keeps images in containerd: docker buildx create --use
  BUILD_ARGS         more arguments for `docker buildx build`
  CHARTS             of push-chart: where to (oci://registry.example.org/charts)
  COSIGN_KEY         of sign: a private key (cosign generate-key-pair); its password is asked for,
                     or in COSIGN_PASSWORD. Without a key: by OpenID Connect, into the public log
  COSIGN_PUB         of verify: the public key. Without one:
  GITHUB_REPOSITORY  of verify: owner/name, whose release workflow is to have signed
"""


def notes() -> None:
    print(changelog.section(ROOT, version.current(ROOT)))


ACTIONS = {
    "release": lambda: tag.release(ROOT),
    "release-notes": notes,
    "push": lambda: registry.push(ROOT),
    "push-chart": lambda: registry.push_chart(ROOT),
    "sbom": lambda: registry.sbom(ROOT),
    "sign": registry.sign,
    "verify": registry.verify,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="publish",
        description=__doc__,
        epilog=VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=ACTIONS)
    action = shell.speaker = parser.parse_args().action
    return shell.perform(action, ACTIONS[action])


if __name__ == "__main__":
    sys.exit(main())
