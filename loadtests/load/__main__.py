"""`python -m load`: Locust with our users and profiles, and the verdict as the exit status.

0: the SLO was kept. 1: it was broken. 2: there is no verdict, for a reason that the last line says.
Takes Locust's options, and runs without its web UI unless --autostart or --headful asks for that.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"
WITH_WEB_UI = {"--autostart", "--headful"}, {"LOCUST_AUTOSTART", "LOCUST_HEADFUL"}


def arguments(given: list[str]) -> list[str]:
    """Locust's: what is given comes later, and wins."""
    options, variables = WITH_WEB_UI
    is_headless = not options & {*given} and not variables & {*os.environ}
    ours = ["--locustfile", str(LOCUSTFILE), "--loglevel", "WARNING"]
    return [*ours, *(["--headless"] if is_headless else []), *given]


def main() -> None:
    sys.argv[1:] = arguments(sys.argv[1:])
    # It makes the standard library wait by gevent as soon as it is imported.
    from locust.main import main as locust  # noqa: PLC0415

    from load.report import NO_RUN  # noqa: PLC0415
    from load.run import verdicts  # noqa: PLC0415

    try:
        locust()
    except KeyboardInterrupt:
        sys.exit(NO_RUN)
    except SystemExit as end:
        # Whatever Locust gives up for, a broken SLO is another thing.
        sys.exit(NO_RUN if end.code and not verdicts else end.code)


if __name__ == "__main__":
    main()
