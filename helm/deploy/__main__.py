"""Build the image, release it to the current kube context, or take the release away."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace

from . import context, image, observability, release, url
from .shell import perform, say, setting

VARIABLES = """\
environment (or `make` variables):
  CONTEXT              the kube context to release to (the current one)
  RELEASE, NAMESPACE   names of the Helm release and its namespace (slipway)
  VALUES               values files of the chart (helm/evaluation.yaml)
  TIMEOUT              how long a rollout may take (5m)
  IMAGE                deploy this image of the Docker engine, building none; or, for the cluster
                       to pull, registry/name:1.2.3@sha256:… as `make push` tells it
  IMAGE_REPOSITORY     push the image under this name, for clusters that pull
  IMAGE_LOAD           hand the image's name to this command instead
  BUILD_ARGS           more arguments for `docker buildx build`
  OBSERVABILITY=0      bring no Prometheus, Grafana, … (helm/observability); 1: even where there is
                       a Prometheus Operator, and to VALUES without helm/evaluation.yaml
  OBSERVABILITY_VALUES values files for it, after helm/evaluation-observability.yaml
  PURGE=1              let undeploy delete data volumes and their secrets too
"""


def deploy() -> None:
    where = context.current()
    target = release.from_environment()
    release.check_helm()
    context.check_answers(where)
    watching = _watching(target)
    for one in (target, *watching):
        release.check_idle(one)
    serving, bring_image = image_for(where)
    settings = [f"image.repository={serving.repository}", f"image.tag={serving.tag}"]
    for one in watching:
        release.bring(one, one.name)
        settings.append(observability.ENDPOINT)
    target = replace(target, settings=tuple(settings))
    release.bring(target, str(serving), prepare=bring_image)
    url.report(target.namespace, target.name)
    if watching:
        observability.report()


def image_for(where: context.Context) -> tuple[image.Image, Callable[[], None]]:
    """The image, and what brings it to the cluster."""
    if pulled := image.by_digest(setting("IMAGE")):
        return pulled, lambda: None
    image.check_engine()
    image.hand_over_command(where, image.Image(image.NAME, "unknown"))
    if not setting("IMAGE"):
        image.build()
    built = image.by_content(setting("IMAGE", image.SERVICE.built))
    return built, lambda: image.hand_over(where, built)


def _watching(target: release.Release) -> list[release.Release]:
    """What is brought to watch it: one release, or none."""
    if reason := observability.reason_against(target):
        say(f"without helm/observability: {reason}")
        return []
    return [observability.release()]


def undeploy() -> None:
    where = context.current()
    target = release.from_environment()
    release.check_helm()
    context.check_answers(where)
    reason = observability.reason_against(target)
    release.take_away(target)
    if not observability.is_ours():
        return
    if others := observability.watched():
        reason = reason or f"it watches slipway in {', '.join(others)}"
    if reason:
        say(f"{observability.NAME} stays: {reason}")
    else:
        release.take_away(observability.release())


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
    return perform(action, ACTIONS[action])


if __name__ == "__main__":
    sys.exit(main())
