"""The dashboards, as Grafana takes them: `build()`. Each module is one, from few panels."""

import json
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from ops.dashboards import load, release, saturation, service, tasks
from ops.dashboards.parts import Board, made


def boards() -> list[Board]:
    return [service.board(), saturation.board(), tasks.board(), release.board(), load.board()]


def build() -> dict[str, dict[str, Any]]:
    """Each dashboard as the object that its JSON holds, by its uid."""
    every = boards()
    return {
        board.uid: json.loads(JSONEncoder(sort_keys=True).encode(made(board, every)))
        for board in every
    }
