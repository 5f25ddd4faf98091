"""Mails by SMTP, against a server that takes them and one that does as it is told."""

import time
from pathlib import Path
from typing import Any

import pytest
from answers import until
from post import Mailpit, Peer

from slipway import mail

MAIL = {"subject": "Hello", "text": "How do you do?\n"}
NOBODYS = "0af76519-16cd-43dd-8448-eb211c80319c"


def a_letter(text: str = "Hello.\n") -> Any:
    return mail.build("Us <us@example.org>", "you@example.com", "Grüße", text, task_id="4-2")


@pytest.mark.needs("engine")
def test_a_mail_arrives_as_it_was_written(mailpit: Mailpit) -> None:
    text = "Zwei\nZeilen und eine lange:\n" + "x" * 2000 + "\n.\nEnde\n"
    mail.send(a_letter(text), mailpit.url)
    (one,) = mailpit.mails()
    whole = mailpit.read(one)
    assert (one["Subject"], one["MessageID"]) == ("Grüße", "4-2@example.org")
    assert one["From"]["Address"] == "us@example.org"
    assert [to["Address"] for to in one["To"]] == ["you@example.com"]
    assert whole["Text"].replace("\r\n", "\n") == text


@pytest.mark.parametrize("command", ["hello", "ehlo", "mail", "rcpt", "data", "."])
def test_a_servers_no_for_now_is_not_its_last_word(server: Peer, command: str) -> None:
    server.replies[command] = ["451 later"] * 2
    if command == "ehlo":
        server.replies["helo"] = ["451 later"]
    with pytest.raises(OSError, match="451"):
        mail.send(a_letter(), server.url)
    assert not server.mails


@pytest.mark.parametrize("command", ["hello", "mail", "rcpt", "data", "."])
def test_a_servers_no_for_ever_is_told_apart(server: Peer, command: str) -> None:
    server.replies[command] = ["550 never"]
    with pytest.raises(mail.Refused, match="550 never"):
        mail.send(a_letter(), server.url)
    assert not server.mails


@pytest.mark.parametrize("url", ["smtp://127.0.0.1:99999", "smtp://user:x@{peer}"])
def test_what_can_never_work_is_refused(server: Peer, url: str) -> None:
    with pytest.raises(mail.Refused):
        mail.send(a_letter(), url.replace("{peer}", server.url.removeprefix("smtp://")))


def test_a_farewell_that_nobody_answers_unsends_nothing(
    server: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "TAKE_SECONDS", 1)
    server.silent_at = "quit"
    mail.send(a_letter(), server.url)
    until(lambda: len(server.mails) == 1, lambda: str(server.said))


def test_a_login_is_made_with_what_the_url_says(server: Peer) -> None:
    server.replies["ehlo"] = ["250-here\r\n250 AUTH PLAIN"]
    server.replies["auth"] = ["235 welcome"]
    mail.send(a_letter(), server.url.replace("smtp://", "smtp://me:p%40ss@"))
    assert "AUTH PLAIN AG1lAHBAc3M=" in server.said


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_certificate_that_nobody_vouches_for_is_not_believed(
    server: Peer, scheme: str, tmp_path: Path
) -> None:
    server.encrypt(tmp_path, at_once=scheme == "smtps")
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        mail.send(a_letter(), server.url.replace("smtp:", f"{scheme}:"))
    assert not server.mails


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_mail_goes_encrypted_where_it_can(
    server: Peer, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = server.encrypt(tmp_path, at_once=scheme == "smtps")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    url = server.url.replace("smtp:", f"{scheme}:").replace("127.0.0.1", "localhost")
    mail.send(a_letter(), url)
    until(lambda: len(server.mails) == 1, lambda: str(server.said))
    assert server.encrypted


@pytest.mark.parametrize("command", ["hello", "ehlo", "rcpt", "."])
def test_a_server_that_falls_silent_is_left(
    server: Peer, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "STEP_SECONDS", 0.2)
    monkeypatch.setattr(mail, "TAKE_SECONDS", 0.5)
    server.silent_at = command
    began = time.monotonic()
    with pytest.raises(OSError, match=r"timed out|unexpectedly closed"):
        mail.send(a_letter(), server.url)
    assert time.monotonic() - began < 2
