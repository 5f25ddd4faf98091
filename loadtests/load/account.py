"""An account that a user makes, uses and deletes again."""

from __future__ import annotations

import secrets
import time
from urllib.parse import urlsplit
from uuid import uuid4

from load.asking import Answer, Asker
from load.tally import DELETED, MADE, tally

USERS, USER = "/api/users", "/api/users/<id:user_id>"
MAIL, TASK = "/api/tasks/email", "/api/tasks/<uuid:task_id>"
# An access token lasts 15 minutes.
RENEW_SECONDS = 10 * 60


def prefix(run: str) -> str:
    """How the e-mails of all accounts of a run begin."""
    return f"load-{run}-"


class Account:
    """One that is not there before `sign_up`, but for an admin's, which stays."""

    def __init__(self, ask: Asker, email: str, password: str) -> None:
        self.email, self.password = email, password
        self.etag = ""
        self._ask = ask
        self._id: int | None = None
        self._access = self._refresh = ""
        self._renew_at = 0.0
        # What a lost answer has made is found again by it.
        self._key = uuid4().hex
        self._may_exist = False

    @classmethod
    def new(cls, ask: Asker, run: str) -> Account:
        """`run` and a number that no other process draws make its e-mail unique."""
        return cls(ask, f"{prefix(run)}{uuid4().hex}@example.com", secrets.token_urlsafe(18))

    @property
    def is_there(self) -> bool:
        return self._id is not None

    @property
    def path(self) -> str:
        return f"{USERS}/{self._id}"

    def enter(self) -> bool:
        """Sign up and log in, as far as that is still to do; whether they are in."""
        return (self.is_there or self.sign_up()) and self.stay_in()

    def stay_in(self) -> bool:
        """Have a token that lasts a while; whether there is one."""
        if self._access:
            return time.monotonic() < self._renew_at or self.refresh()
        return self.log_in()

    def sign_up(self) -> bool:
        body = {"name": "Load Test", "email": self.email, "password": self.password}
        answer = self._ask("POST", USERS, 201, json=body, headers={"Idempotency-Key": self._key})
        # Whatever refuses it has not made it; an answer that is lost, or a 500, may have.
        self._may_exist = answer is not None or not 400 <= self._ask.status < 500
        if answer:
            self._id = int(answer.json["id"])
            self.etag = answer.headers.get("ETag", "")
            tally.count(MADE)
        return answer is not None

    def log_in(self) -> bool:
        body = {"email": self.email, "password": self.password}
        return self._keep(self._ask("POST", "/login", 200, json=body))

    def refresh(self) -> bool:
        headers = {"Authorization": f"Bearer {self._refresh}"}
        # Whether it is used up, when no answer comes, nobody knows.
        self._access = self._refresh = ""
        return self._keep(self._ask("POST", "/refresh", 200, headers=headers))

    def log_out(self) -> bool:
        answer = self._ask("POST", "/logout", 204, headers=self.bearer())
        self._access = self._refresh = ""
        return answer is not None

    def me(self) -> bool:
        return self._ask("GET", "/me", 200, headers=self.bearer()) is not None

    def read(self) -> bool:
        answer = self._ask("GET", self.path, 200, route=USER, headers=self.bearer())
        return self._tagged(answer)

    def read_again(self) -> bool:
        """It has not changed, so it is not sent again."""
        headers = self.bearer() | {"If-None-Match": self.etag}
        return self._ask("GET", self.path, 304, route=USER, headers=headers) is not None

    def rename(self) -> bool:
        headers = self.bearer() | {"If-Match": self.etag}
        body = {"name": f"Load Test {secrets.token_hex(4)}"}
        answer = self._ask("PATCH", self.path, 200, route=USER, json=body, headers=headers)
        return self._tagged(answer)

    def send_mail(self) -> str | None:
        """The path of the task, if it was taken."""
        body = {"subject": "Load test", "text": "One of many.\n"}
        headers = self.bearer() | {"Idempotency-Key": uuid4().hex}
        answer = self._ask("POST", MAIL, 202, json=body, headers=headers)
        return urlsplit(answer.headers["Location"]).path if answer else None

    def task_goes_on(self, path: str, *, is_last_look: bool) -> bool:
        """Whether it may be looked at again; a task that fails or takes too long is a failure."""

        def wrong(task: dict[str, str]) -> str | None:
            if task["status"] == "FAILURE":
                return "the task failed"
            late = is_last_look and task["status"] != "SUCCESS"
            return "the task is not done in time" if late else None

        answer = self._ask("GET", path, 200, route=TASK, headers=self.bearer(), wrong=wrong)
        return answer is not None and answer.json["status"] != "SUCCESS"

    def list_users(self, path: str = USERS) -> Answer | None:
        """For an admin."""
        return self._ask("GET", path, 200, route=USERS, headers=self.bearer())

    def delete(self) -> bool:
        is_gone = self.delete_other(self._id)
        if is_gone:
            self._id, self._may_exist = None, False
        return is_gone

    def delete_other(self, user_id: int | None) -> bool:
        """For an admin, if it is somebody else."""
        path, headers = f"{USERS}/{user_id}", self.bearer()
        answer = self._ask("DELETE", path, 204, 404, route=USER, headers=headers)
        if answer:
            tally.count(DELETED)
        return answer is not None

    def remove(self, ask: Asker, tries: int = 5) -> None:
        """Delete what there may be of it, asking by `ask`; what resists counts as made alone."""
        self._ask = ask
        while self._may_exist and tries:
            tries -= 1
            # If the answer was lost, the same key brings it back; if there is none yet, it is made.
            if (self.is_there or self.sign_up()) and (self._access or self.log_in()):
                if self.delete():
                    return
                # Its tokens may have come to their end.
                self._access = ""
            time.sleep(0.5)

    def bearer(self) -> dict[str, str]:
        """The header that says who asks."""
        return {"Authorization": f"Bearer {self._access}"}

    def _keep(self, answer: Answer | None) -> bool:
        if answer:
            self._access, self._refresh = answer.json["access_token"], answer.json["refresh_token"]
            self._renew_at = time.monotonic() + RENEW_SECONDS
        return answer is not None

    def _tagged(self, answer: Answer | None) -> bool:
        if answer:
            self.etag = answer.headers.get("ETag", "")
        return answer is not None
