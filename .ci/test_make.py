"""What `make` promises on a machine that has Python alone."""

import os
import pty
import re
import select
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.needs("make")


def environment(**more: str) -> dict[str, str]:
    """Ours, without what the `make` above us tells its own."""
    return {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"} | more


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_make_alone_lists_every_target() -> None:
    done = subprocess.run(
        ["make"], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    phony = re.search(r"^\.PHONY: (.*) help$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    for target in phony[1].split():
        assert re.search(rf"^  make {target} +\w", done.stdout, re.MULTILINE), target


def test_make_run_serves_what_it_says_and_ctrl_c_ends_it_well(tmp_path: Path) -> None:
    port, ops = free_port(), free_port()
    settings = environment(
        BIND=f"127.0.0.1:{port}",
        OPS_PORT=str(ops),
        DATABASE_URL=f"sqlite:///{tmp_path}/slipway.db",
    )
    # A terminal, as Ctrl-C comes from one.
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "make", "run"],
        cwd=ROOT, env=settings, stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    said = read_until(master, "Ctrl-C", seconds=60)
    url = re.search(r"serves +(http://\S+/)", said)
    assert url, said
    assert url[1] == f"http://127.0.0.1:{port}/"
    with urllib.request.urlopen(url[1], timeout=10) as answer:  # noqa: S310 - it is ours
        assert answer.status == 200
    os.write(master, b"\x03")
    said = read_until(master, "has ended", seconds=30)
    assert process.wait(timeout=10) == 0, said
    assert "Traceback" not in said
    os.close(master)


def read_until(terminal: int, text: str, seconds: float) -> str:
    said, deadline = "", time.monotonic() + seconds
    while text not in said and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                said += os.read(terminal, 4096).decode(errors="replace")
            except OSError:
                break
    return said
