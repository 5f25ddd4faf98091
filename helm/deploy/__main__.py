"""Build the image, release it to the current kube context, or take the release away."""

import argparse
import sys

from . import context, image, release, url
from .shell import Failure, say, setting

VARIABLES = """\
environment (or `make` variables):
  RELEASE, NAMESPACE   names of the Helm release and its namespace (slipway)
  VALUES               values files of the chart (helm/evaluation.yaml)
  TIMEOUT              how long a rollout may take (5m)
  IMAGE                deploy this image of the Docker engine, building none
  IMAGE_REPOSITORY     push the image under this name, for clusters that pull
  IMAGE_LOAD           hand the image's name to this command instead
  BUILD_ARGS           more arguments for `docker buildx build`
  PURGE=1              let undeploy delete data volumes and their secrets too
"""


def deploy() -> None:
    where = context.current()
    target = release.from_environment()
    release.check_helm()
    context.check_answers(where)
    release.check_idle(target)
    image.check_engine()
    image.hand_over_command(where, image.Image(image.NAME, "unknown"))
    if not setting("IMAGE"):
        image.build()
    built = image.by_content(setting("IMAGE", image.BUILT))
    made = release.make_namespace(target)
    try:
        if revision := release.unchanged(target, built):
            say(f"unchanged: revision {revision} serves {built}")
        else:
            image.hand_over(where, built)
            release.roll_out(target, built)
    except (Failure, KeyboardInterrupt):
        if made:
            release.drop_namespace(target)
        raise
    url.report(target.namespace, target.name)


def undeploy() -> None:
    where = context.current()
    release.check_helm()
    context.check_answers(where)
    release.take_away(release.from_environment())


ACTIONS = {"image": image.build, "deploy": deploy, "undeploy": undeploy}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="deploy",
        description=__doc__,
        epilog=VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=ACTIONS)
    action = parser.parse_args().action
    try:
        ACTIONS[action]()
    except Failure as failure:
        print(f"{action}: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{action}: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
