"""Mail servers for tests: one that takes mail, and one that answers what it is told to."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from certificates import self_signed

# The one place that names it; the rig builds it too.
MAILPIT = "axllent/mailpit:v1.27"


class Mailpit:
    """Mails that a server took, by its API."""

    def __init__(self, smtp_port: int, api_port: int) -> None:
        self.url = f"smtp://127.0.0.1:{smtp_port}"
        self._api = f"http://127.0.0.1:{api_port}/api/v1"

    def answers(self) -> bool:
        with suppress(httpx.HTTPError):
            self.mails()
            return True
        return False

    def mails(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("/messages")["messages"]
        return found

    def read(self, mail: dict[str, Any]) -> dict[str, Any]:
        """A whole mail."""
        found: dict[str, Any] = self._ask(f"/message/{mail['ID']}")
        return found

    def empty(self) -> None:
        self._ask("/messages", "DELETE")

    def _ask(self, path: str, method: str = "GET") -> Any:
        answer = httpx.request(method, self._api + path, timeout=10)
        return answer.json() if answer.text.startswith("{") else None


class Peer:
    """A mail server that answers each command as `replies` have it, and else takes everything."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"smtp://127.0.0.1:{self._listener.getsockname()[1]}"
        # By command in lower case, and for the end of the mail "."; each is given once.
        self.replies: dict[str, list[str]] = {}
        self.said: list[str] = []
        self.mails: list[str] = []
        # The command after which it says nothing more, and whether it has come to that.
        self.silent_at: str | None = None
        self.is_silent = False
        self.encrypted = False
        self._trusted: ssl.SSLContext | None = None
        self._at_once = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def encrypt(self, folder: Path, *, at_once: bool) -> Path:
        """Offer TLS, or begin with it; gives the certificate that vouches for it."""
        key, certificate = self_signed(folder, days=1)
        self._trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._trusted.load_cert_chain(certificate, key)
        self._at_once = at_once
        if not at_once:
            self.replies["ehlo"] = ["250-here\r\n250 STARTTLS"]
            self.replies["starttls"] = ["220 go on"]
        return certificate

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            if self._at_once:
                with self._secured(client) as secured:
                    self._talk(secured, greets=True)
            elif self._talk(client, greets=True) == "starttls":
                with self._secured(client) as secured:
                    self._talk(secured, greets=False)

    def _secured(self, client: socket.socket) -> ssl.SSLSocket:
        assert self._trusted
        secured = self._trusted.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        try:
            secured.do_handshake()
        except OSError:
            secured.close()
            raise
        self.encrypted = True
        return secured

    def _talk(self, client: socket.socket, *, greets: bool) -> str:
        """Until the client goes, or wants to go on by TLS."""
        with client.makefile("rwb", 0) as stream:

            def say(command: str, usual: str) -> str:
                if command == self.silent_at:
                    self.is_silent = True
                    while stream.readline():
                        pass
                    return ""
                line = (self.replies.get(command) or [usual]).pop(0)
                stream.write(line.encode() + b"\r\n")
                return line

            if greets:
                say("hello", "220 here")
            while line := stream.readline().decode():
                self.said.append(line.strip())
                command = line.split()[0].lower()
                answer = say(command, "354 go on" if command == "data" else "250 yes")
                if command == "starttls":
                    return command
                if answer.startswith("354"):
                    mail = "".join(iter(lambda: stream.readline().decode(), ".\r\n"))
                    if say(".", "250 taken").startswith("250"):
                        self.mails.append(mail)
        return ""


@contextmanager
def peer() -> Iterator[Peer]:
    one = Peer()
    try:
        yield one
    finally:
        one.close()
