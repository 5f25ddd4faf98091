"""Other programs, and what a person is told of them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class BenchError(Exception):
    """What was tried, what was seen, what to do: one line."""


def say(text: str) -> None:
    print(f"bench: {text}", flush=True)


def run(command: Sequence[str], stdin: str = "") -> str:
    """The command's output. Raises BenchError with the last that it said when it fails."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        seen = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise BenchError(f"{' '.join(command[:3])}: {seen[0] if seen else done.returncode}")
    return done.stdout.strip()
