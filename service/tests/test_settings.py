"""A wrong environment is named before anything starts."""

from pathlib import Path

import pytest

from slipway.settings import Settings, SettingsError, load_settings

GOOD = {
    "SECRET_KEY": "k" * 32,
    "JWT_SECRET_KEY": "j" * 32,
    "DATABASE_URL": "postgresql://me:pw@db/slipway",
}


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        for variable in (name.upper(), f"{name.upper()}_FILE"):
            monkeypatch.delenv(variable, raising=False)


def load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_production_is_the_default_and_starts_with_its_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load(monkeypatch, **GOOD)
    assert settings.environment == "production"
    assert settings.database_url.get_secret_value() == "postgresql+psycopg://me:pw@db/slipway"


def test_development_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, ENVIRONMENT="development").web_concurrency == 1


@pytest.mark.parametrize(
    ("environment", "named", "reason"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY", "production needs one"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY", "too short"),
        ({"JWT_SECRET_KEY": ""}, "JWT_SECRET_KEY", "production needs one"),
        ({"JWT_SECRET_KEY": "short"}, "JWT_SECRET_KEY", "too short"),
        ({"SECRET_KEY_PREVIOUS": "short"}, "SECRET_KEY_PREVIOUS", "too short"),
        ({"JWT_SECRET_KEY_PREVIOUS": "short"}, "JWT_SECRET_KEY_PREVIOUS", "too short"),
        ({"CORS_ORIGINS": "*"}, "CORS_ORIGINS", "https://app.example.org"),
        ({"CORS_ORIGINS": "https://a.example, b.example"}, "CORS_ORIGINS", "b.example"),
        ({"CORS_ORIGINS": "https://a.example/"}, "CORS_ORIGINS", "https://a.example/"),
        ({"LOGIN_LIMIT": "often"}, "LOGIN_LIMIT", "pattern"),
        ({"RATE_LIMIT": "0 per minute"}, "RATE_LIMIT", "pattern"),
        ({"DATABASE_URL": ""}, "DATABASE_URL", "production needs one"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL", "postgresql://"),
        ({"REDIS_URL": "http://x"}, "REDIS_URL", "redis://"),
        ({"SMTP_URL": "mail"}, "SMTP_URL", "smtp://"),
        ({"WEB_CONCURRENCY": "many"}, "WEB_CONCURRENCY", "integer"),
        ({"WEB_THREADS": "0"}, "WEB_THREADS", "greater than or equal to 1"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL", "DEBUG"),
        ({"BIND": "nowhere"}, "BIND", "pattern"),
        ({"OPS_PORT": "70000"}, "OPS_PORT", "65535"),
        ({"ENVIRONMENT": "prod"}, "ENVIRONMENT", "production"),
        ({"OAUTH_GOOGLE_CLIENT_ID": "x"}, "OAUTH_GOOGLE_CLIENT_SECRET", "missing"),
        ({"OAUTH_GITHUB_CLIENT_SECRET": "x"}, "OAUTH_GITHUB_CLIENT_ID", "missing"),
        ({"OAUTH_GITHUB_URL": "http://git.example"}, "OAUTH_GITHUB_URL", "https://"),
        ({"OAUTH_GITHUB_URL": "git.example"}, "OAUTH_GITHUB_URL", "https://"),
        ({"OAUTH_OIDC_CLIENT_ID": "x"}, "OAUTH_OIDC_ISSUER", "missing"),
        ({"OAUTH_OIDC_CLIENT_ID": "x"}, "OAUTH_OIDC_CLIENT_SECRET", "missing"),
        ({"OAUTH_OIDC_ISSUER": "https://id.example"}, "OAUTH_OIDC_CLIENT_ID", "missing"),
        ({"OAUTH_OIDC_ISSUER": "http://id.example"}, "OAUTH_OIDC_ISSUER", "https://"),
        ({"OAUTH_OIDC_ISSUER": "ftp://127.0.0.1"}, "OAUTH_OIDC_ISSUER", "https://"),
        ({"OAUTH_OIDC_ISSUER": "https://"}, "OAUTH_OIDC_ISSUER", "https://"),
        ({"SECRET_KEY_FILE": "/nowhere"}, "SECRET_KEY", "both set"),
        ({"REDIS_URL_FILE": "/nowhere"}, "REDIS_URL_FILE", "cannot read /nowhere"),
    ],
)
def test_a_wrong_setting_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], named: str, reason: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, **{**GOOD, **environment})
    assert any(line.startswith(named) and reason in line for line in str(caught.value).splitlines())


def test_all_wrong_settings_are_named_at_once_and_no_value_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, **GOOD, DATABASE_URL_FILE="", REDIS_URL="s3cret", WEB_THREADS="s3cret")
    assert {line.split(":")[0] for line in str(caught.value).splitlines()} == {
        "REDIS_URL",
        "WEB_THREADS",
    }
    assert "s3cret" not in str(caught.value)


def test_origins_and_limits_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    origins = "https://app.example.org, http://localhost:3000"
    settings = load(monkeypatch, **GOOD, CORS_ORIGINS=origins, LOGIN_LIMIT="3 per 10 minutes")
    assert settings.allowed_origins == ["https://app.example.org", "http://localhost:3000"]
    assert load(monkeypatch, **GOOD, CORS_ORIGINS="").allowed_origins == []


def test_a_secret_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("f" * 40 + "\n")
    rest = {name: value for name, value in GOOD.items() if name != "SECRET_KEY"}
    settings = load(monkeypatch, **rest, SECRET_KEY_FILE=str(file))
    assert settings.secret_key.get_secret_value() == "f" * 40
    assert "f" * 40 not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "issuer"),
    [
        ("production", "https://id.example/realm"),
        ("production", "http://localhost:9400"),
        ("production", "http://[::1]:9400"),
        ("development", "http://keycloak:8080"),
    ],
)
def test_a_provider_speaks_https_unless_it_is_a_developers(
    monkeypatch: pytest.MonkeyPatch, environment: str, issuer: str
) -> None:
    whole = {"OAUTH_OIDC_CLIENT_ID": "x", "OAUTH_OIDC_CLIENT_SECRET": "y"}
    settings = load(monkeypatch, **GOOD, **whole, ENVIRONMENT=environment, OAUTH_OIDC_ISSUER=issuer)
    assert settings.oauth_oidc_issuer == issuer
