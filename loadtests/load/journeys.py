"""What people do here, and how often: each task is one of their errands, with pauses to think."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from locust import between, task
from locust.env import Environment

from load.account import Account
from load.admin import credentials
from load.people import Person

# As ops/slo.yaml promises of tasks.
MAIL_SECONDS = 60
ASSET = re.compile(r'(?:href|src)="(/assets/[^"]+)"')
HTML = {"Accept": "text/html"}

Traveller = TypeVar("Traveller", bound="Person")


def signed_in(errand: Callable[[Traveller], None]) -> Callable[[Traveller], None]:
    """An errand of somebody who has an account and is logged in, or becomes so first."""

    @wraps(errand)
    def run(person: Traveller) -> None:
        if person.account.enter():
            errand(person)

    return run


class Member(Person):
    """Somebody with an account, who mostly reads."""

    wait_time = between(0.5, 1.5)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        # What their browser has kept.
        self._assets: set[str] = set()

    def on_start(self) -> None:
        self.account.enter()

    @task(6)
    def browse(self) -> None:
        self._page("/")
        self.wait()
        self._page("/account/login")

    @task(3)
    def look_around(self) -> None:
        self.ask("GET", "/", 200, headers={"Accept": "application/json"})
        self.ask("GET", "/version", 200)
        self.wait()
        self.ask("GET", "/expensive", 200)

    @task(1)
    def wait_for_something(self) -> None:
        self.ask("GET", "/slow", 200)

    @task(12)
    @signed_in
    def read(self) -> None:
        self.account.me()
        self.wait()
        if self.account.read():
            self.wait()
            self.account.read_again()

    @task(4)
    @signed_in
    def write(self) -> None:
        if self.account.read():
            self.wait()
            if self.account.rename():
                self.account.read_again()

    @task(2)
    @signed_in
    def send_mail(self) -> None:
        if path := self.account.send_mail():
            deadline, goes_on = time.monotonic() + MAIL_SECONDS, True
            while goes_on:
                self.wait()
                is_last = time.monotonic() > deadline
                goes_on = self.account.task_goes_on(path, is_last_look=is_last)

    @task(1)
    @signed_in
    def refresh(self) -> None:
        self.account.refresh()

    @task(1)
    @signed_in
    def log_out_and_in(self) -> None:
        self.account.log_out()
        self.wait()
        self.account.log_in()

    @task(1)
    def come_and_go(self) -> None:
        """Sign up, look at what one has, and leave for good."""
        account = self.new_account()
        if account.enter():
            self.wait()
            account.read()
            self.wait()
            if account.delete():
                self.accounts.remove(account)

    def _page(self, path: str) -> None:
        """As a browser has it: with what belongs to it, unless that is kept from before."""
        if answer := self.ask("GET", path, 200, headers=HTML):
            for asset in ASSET.findall(answer.text):
                if asset not in self._assets:
                    self._assets.add(asset)
                    self.ask("GET", asset, 200, route="/assets/<folder>/<name>")


class Admin(Person):
    """The one who looks through all users, if the environment says who that is."""

    fixed_count = 1
    wait_time = between(1, 3)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.accounts.clear()
        self.account = Account(self.ask, *credentials())

    @task
    def list_users(self) -> None:
        path: str | None = "/api/users?sort=-created_at&limit=20"
        for _ in range(2):
            if path and self.account.stay_in():
                answer = self.account.list_users(path)
                path = answer.json["next"] if answer else None
                self.wait()
