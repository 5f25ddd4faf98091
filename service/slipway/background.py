"""Work in threads of this process, for where there is no worker: `make run`."""

import atexit
import logging
import queue
import threading
import time
from collections.abc import Callable

THREADS = 4
# At the end of the process, what has begun may take so long; what has not is dropped.
END_SECONDS = 5

logger = logging.getLogger(__name__)


class Background:
    """A few threads that are started when there is work, and keep no process from its end."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._ended = False

    def do(self, job: Callable[[], object]) -> None:
        """Have `job` done soon."""
        with self._lock:
            if not self._threads:
                atexit.register(self.end)
            if len(self._threads) < THREADS:
                thread = threading.Thread(target=self._work, name="background", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) and not self._ended:
            try:
                job()
            except Exception:
                logger.exception("a job in the background failed")

    def end(self) -> None:
        """Let what has begun end, if it is soon."""
        self._ended = True
        for _ in self._threads:
            self._jobs.put(None)
        deadline = time.monotonic() + END_SECONDS
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
