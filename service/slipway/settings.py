"""What the environment says, checked before anything starts.

Each setting is an environment variable of its name in capitals; `NAME_FILE` names a file that
holds the value instead, as mounted secrets do.
"""

import os
import re
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

# Such as `10 per minute`, as Flask-Limiter reads them.
LIMIT = r"^[1-9]\d* (per|/) ?(\d+ ?)?(second|minute|hour|day)s?$"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
DEVELOPMENT_SECRET = "development-only-" + "secret" * 4


class SettingsError(Exception):
    """A setting is missing or wrong; the text names it and says why, a line each."""


class FileSource(PydanticBaseSettingsSource):
    """Values that stand in the files named by `NAME_FILE`, without their final newline."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = field_name.upper()
        path = os.environ.get(f"{name}_FILE")
        if not path:
            return None, field_name, False
        if os.environ.get(name):
            raise SettingsError(f"{name} and {name}_FILE are both set: keep one of them")
        try:
            return Path(path).read_text().rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise SettingsError(f"{name}_FILE: cannot read {path}: {reason}") from error

    def __call__(self) -> dict[str, Any]:
        values = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None:
                values[key] = value
        return values


class Settings(BaseSettings):
    """The service's settings; the defaults suit `make run`, production names its own."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    environment: Literal["production", "development"] = "production"
    # postgresql://user:password@host:port/database, or sqlite:///path.
    database_url: SecretStr = SecretStr("sqlite:///slipway.db")
    # Without one, each process counts and works for itself, and only a single one keeps answers.
    redis_url: SecretStr | None = None
    # smtp://[user:password@]host[:port]; without one, mails are only logged.
    smtp_url: SecretStr | None = None
    mail_from: str = "slipway@localhost"
    # Signs cookies, forms and paging cursors; `…_previous` is accepted, never signed with.
    secret_key: SecretStr = SecretStr(DEVELOPMENT_SECRET)
    secret_key_previous: SecretStr | None = None
    # The same for access and refresh tokens.
    jwt_secret_key: SecretStr = SecretStr(DEVELOPMENT_SECRET)
    jwt_secret_key_previous: SecretStr | None = None
    # Origins whose pages may call the API (CORS), separated by commas; none by default.
    cors_origins: str = ""

    # Who may ask how often: anybody for anything; an address for a login, and for a new account.
    rate_limit: str = Field(default="600 per minute", pattern=LIMIT)
    login_limit: str = Field(default="10 per minute", pattern=LIMIT)
    signup_limit: str = Field(default="20 per hour", pattern=LIMIT)

    # Providers that people may log in with; each is offered once it has an id.
    oauth_google_client_id: str = ""
    oauth_google_client_secret: SecretStr = SecretStr("")
    oauth_github_client_id: str = ""
    oauth_github_client_secret: SecretStr = SecretStr("")
    # Where a GitHub Enterprise Server is.
    oauth_github_url: str = "https://github.com"
    # Any OpenID Connect issuer, found by its discovery document; the label is for its button.
    oauth_oidc_issuer: str = ""
    oauth_oidc_client_id: str = ""
    oauth_oidc_client_secret: SecretStr = SecretStr("")
    oauth_oidc_label: str = "single sign-on"

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    # Where errors are reported; without one, they are only logged.
    sentry_dsn: SecretStr | None = None
    # What they are filed under there, if not under `environment`.
    sentry_environment: str = ""
    # Who bears it may inject faults by the operations port; without one, nobody can.
    faults_token: SecretStr | None = Field(default=None, min_length=16)
    # The nginx in front: the address of its stub_status, and host:port of its TLS.
    edge_status_url: str = ""
    edge_tls: str = Field(default="", pattern=r"^(.+:\d{1,5})?$")
    commit: str = "unknown"

    # Processes and threads that take requests; each thread may hold a database connection.
    web_concurrency: int = Field(default=1, ge=1, le=64)
    web_threads: int = Field(default=8, ge=1, le=256)
    # host:port, [v6]:port or unix:/path.
    bind: str = Field(default="127.0.0.1:8000", pattern=r"^(unix:/.+|.+:\d{1,5})$")
    # Probes and metrics: never behind the public proxy.
    ops_host: str = "127.0.0.1"
    ops_port: int = Field(default=8001, ge=0, le=65535)
    # Proxies whose X-Forwarded-* are believed: those that we run ourselves.
    forwarded_hops: int = Field(default=0, ge=0, le=3)
    max_body_bytes: int = Field(default=1_048_576, ge=1024, le=1_073_741_824)
    # How long gunicorn lets requests finish when it is told to stop, seconds.
    graceful_seconds: int = Field(default=30, ge=1, le=600)

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _driver(cls, value: SecretStr) -> SecretStr:
        scheme, _, rest = value.get_secret_value().partition("://")
        if scheme in {"postgres", "postgresql", "postgresql+psycopg"} and rest:
            return SecretStr(f"postgresql+psycopg://{rest}")
        if scheme == "sqlite" and rest:
            return value
        raise ValueError("should start with postgresql:// or sqlite:///")

    @field_validator("redis_url", "smtp_url")
    @classmethod
    def _scheme(cls, value: SecretStr | None, info: Any) -> SecretStr | None:
        schemes = {"redis_url": ("redis", "rediss"), "smtp_url": ("smtp", "smtps")}
        accepted = schemes[info.field_name]
        if value is not None and urlsplit(value.get_secret_value()).scheme not in accepted:
            raise ValueError(f"should start with {' or '.join(f'{s}://' for s in accepted)}")
        return value

    @field_validator("oauth_oidc_issuer", "oauth_github_url")
    @classmethod
    def _private(cls, value: str, info: ValidationInfo) -> str:
        address = urlsplit(value)
        plain = info.data.get("environment") == "development" or address.hostname in LOOPBACK
        if value and not (address.hostname and address.scheme in ("https", *["http"] * plain)):
            raise ValueError("should start with https://, but for a provider on this machine")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in cls._listed(value):
            if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d+)?", origin):
                raise ValueError(f"{origin}: an origin reads https://app.example.org")
        return value

    @staticmethod
    def _listed(value: str) -> list[str]:
        return [part.strip() for part in value.split(",") if part.strip()]

    @property
    def allowed_origins(self) -> list[str]:
        """The origins of `cors_origins`."""
        return self._listed(self.cors_origins)

    @model_validator(mode="after")
    def _providers_are_whole(self) -> Self:
        problems = []
        for needed in (
            ("oauth_google_client_id", "oauth_google_client_secret"),
            ("oauth_github_client_id", "oauth_github_client_secret"),
            ("oauth_oidc_issuer", "oauth_oidc_client_id", "oauth_oidc_client_secret"),
        ):
            missing = [name for name in needed if not getattr(self, name)]
            if 0 < len(missing) < len(needed):
                given = next(name for name in needed if name not in missing).upper()
                problems += [f"{name.upper()}: missing, with {given} set" for name in missing]
        if problems:
            raise SettingsError("\n".join(problems))
        return self

    @model_validator(mode="after")
    def _production_needs_its_own(self) -> Self:
        problems = []
        if self.environment == "production":
            for name in ("secret_key", "jwt_secret_key"):
                for variable in (name, f"{name}_previous"):
                    secret = getattr(self, variable)
                    plain = secret.get_secret_value() if secret else ""
                    if plain == DEVELOPMENT_SECRET:
                        problems.append(
                            f"{variable.upper()}: production needs one: openssl rand -hex 32"
                        )
                    elif secret and len(plain) < 32:
                        problems.append(
                            f"{variable.upper()}: too short: production needs 32 characters or more"
                        )
            if "database_url" not in self.model_fields_set:
                problems.append("DATABASE_URL: production needs one: postgresql://…")
        if problems:
            raise SettingsError("\n".join(problems))
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, FileSource(settings_cls)


def load_settings() -> Settings:
    """The settings of this environment.

    Raises SettingsError with the name and the reason of everything that is wrong, never a value:
    it may be a secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        for item in error.errors(include_url=False, include_input=False):
            name = str(item["loc"][0]).upper() if item["loc"] else "settings"
            lines.append(f"{name}: {item['msg'].removeprefix('Value error, ')}")
        raise SettingsError("\n".join(lines)) from None
