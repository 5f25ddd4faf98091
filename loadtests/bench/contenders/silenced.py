"""The service without the signals that SILENCED names, so that the bench can tell what each costs.

Traces and errors are off where the environment names nobody to send them to; what is left of both
is the id in the answer.
"""

import os
from typing import Any

from sqlalchemy import QueuePool

from slipway import create_app
from slipway.telemetry import logs, metrics, saturation, tracing

__all__ = ["create_app"]


def _nothing(*_: Any, **__: Any) -> None:
    pass


_off = os.environ["SILENCED"].split(",")
if "logs" in _off:
    logs.init_app = _nothing
    logs.GunicornLogger.access = _nothing  # type: ignore[method-assign]
if "metrics" in _off:
    metrics.init_app = saturation.init_app = saturation.watch_pool = _nothing
    saturation.Pool._do_get = QueuePool._do_get  # type: ignore[method-assign]
if "traces" in _off:
    tracing.init_app = _nothing
