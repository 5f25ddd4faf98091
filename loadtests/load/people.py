"""What all users have in common: one connection, one account, and no trace left behind."""

from __future__ import annotations

from locust.contrib.fasthttp import FastHttpSession, FastHttpUser
from locust.env import Environment
from locust.event import EventHook

from load.account import Account
from load.asking import PATIENCE, Asker


def unseen(host: str | None) -> Asker:
    """Who asks without being counted: what is cleaned up is no load."""
    session = FastHttpSession(host, EventHook(), None, connection_timeout=10, network_timeout=10)
    return Asker(session)


class Person(FastHttpUser):
    abstract = True
    network_timeout = connection_timeout = PATIENCE

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.ask = Asker(self.client)
        self.accounts: list[Account] = []
        self.account = self.new_account()

    def new_account(self) -> Account:
        """One that is deleted when the user goes, if not before."""
        run = self.environment.parsed_options.run_id
        account = Account.new(self.ask, run)
        self.accounts.append(account)
        return account

    def on_stop(self) -> None:
        ask = unseen(self.host)
        for account in self.accounts:
            account.remove(ask)
