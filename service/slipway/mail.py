"""Mails by SMTP: what they look like, and how they leave, with an end to every wait."""

import smtplib
import socket
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Any
from urllib.parse import unquote, urlsplit

# What the server may take for a step, seconds.
STEP_SECONDS = 8
# And for its last word, while it may scan the mail: whoever gives up here does not know
# whether it was taken, and has to send it again.
TAKE_SECONDS = 30


class Refused(Exception):  # noqa: N818
    """The server takes this mail neither now nor later."""


class _Plain(smtplib.SMTP):
    """A client that waits longer for the answer to the mail itself."""

    def data(self, msg: Any) -> tuple[int, bytes]:
        self.sock.settimeout(TAKE_SECONDS)  # type: ignore[union-attr]
        return super().data(msg)


class _Secure(_Plain, smtplib.SMTP_SSL):
    """The same, encrypted from the start."""


def build(sender: str, recipient: str, subject: str, text: str, *, task_id: str) -> EmailMessage:
    """The mail of a task: by its Message-ID, which never changes, servers can tell a repetition."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, recipient, subject
    mail["Date"] = formatdate(usegmt=True)
    mail["Message-ID"] = f"<{task_id}@{parseaddr(sender)[1].rpartition('@')[2] or 'localhost'}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text)
    return mail


def send(mail: EmailMessage, url: str) -> None:
    """Hand the mail to the server at `url`.

    Raises Refused when it never takes it, and OSError when it may another time.
    """
    reason: bytes | str
    try:
        server = _connected(url)
        try:
            server.send_message(mail)
            # It has the mail: whatever its farewell would be changes nothing.
            with suppress(OSError):
                server.putcmd("quit")
        finally:
            server.close()
    except ssl.SSLError:
        # A certificate that is no good is a ValueError too, and may be renewed.
        raise
    except smtplib.SMTPRecipientsRefused as error:
        code, reason = next(iter(error.recipients.values()))
    except smtplib.SMTPResponseException as error:
        code, reason = error.smtp_code, error.smtp_error
    except (smtplib.SMTPNotSupportedError, ValueError) as error:
        raise Refused(str(error)) from error
    else:
        return
    said = f"{code} {reason.decode(errors='replace') if isinstance(reason, bytes) else reason}"
    if 500 <= code <= 599:
        raise Refused(said)
    raise OSError(said)


def _connected(url: str) -> smtplib.SMTP:
    parts = urlsplit(url)
    trusted = ssl.create_default_context()
    options: Any = {"local_hostname": socket.gethostname(), "timeout": STEP_SECONDS}
    host, port = parts.hostname or "localhost", parts.port or 0
    server: smtplib.SMTP
    if parts.scheme == "smtps":
        server = _Secure(host, port, context=trusted, **options)
    else:
        server = _Plain(host, port, **options)
    try:
        server.ehlo_or_helo_if_needed()
        if parts.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=trusted)
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
    except BaseException:
        server.close()
        raise
    return server
