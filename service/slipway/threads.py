"""Gunicorn's threads, which stay with a connection while it has more to ask.

After each answer gunicorn's own hand the connection back to the main thread, which waits for the
next request and hands it to a thread again: two changes of threads, and eight system calls, for a
request of a client that keeps its connections open and busy, as nginx does.
"""

import select
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from slipway.telemetry import logs, saturation

# How long a thread waits for a connection's next request while nobody waits for a thread.
STAY_MILLISECONDS = 10


class Worker(ThreadWorker):  # type: ignore[misc]
    def handle(self, conn: Any) -> Any:
        """Answer the connection's requests; whether it is to be kept, as gunicorn has it."""
        kept = super().handle(conn)
        while kept is True and self._asks_again(conn):
            kept = super().handle(conn)
        return kept

    def _asks_again(self, conn: Any) -> bool:
        # Who waits for a thread comes first, and who wants to end waits for nobody.
        if not self.alive or self.tpool._work_queue.qsize():
            return False
        # Read already, behind the former request.
        if conn.parser.unreader.buf.getvalue():
            return True
        coming = select.poll()
        coming.register(conn.sock, select.POLLIN)
        if coming.poll(STAY_MILLISECONDS):
            return True
        logs.flush()
        return False

    def notify(self) -> None:
        """Each second at least."""
        super().notify()
        logs.flush()
        saturation.tell()
