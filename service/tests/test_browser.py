"""The pages in a real Chromium, on a server in production's settings: and people's ways."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from answers import PASSWORD, settings
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from serving import migrate, serving

from slipway import accounts, create_app
from slipway.database import db
from slipway.models import ADMIN

pytestmark = pytest.mark.needs("chromium")

NARROW, WIDE = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
FAILED = "Failed to load resource: the server responded with a status of"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the service, with an admin and 45 users."""
    directory = tmp_path_factory.mktemp("site")
    url = f"sqlite:///{directory}/slipway.db"
    migrate(url)
    app = create_app(settings(database_url=url))
    with app.test_request_context():
        accounts.add("Grace Hopper", "grace@example.com", password=PASSWORD, role=ADMIN)
        for number in range(45):
            long = "someone.with.a.long.name" if number % 2 else "ann"
            accounts.add(f"Person {number}", f"{long}{number}@harbour.example.com")
        db.session.commit()
        db.engine.dispose()
    production = {
        "ENVIRONMENT": "production",
        "SECRET_KEY": "s" * 32,
        "JWT_SECRET_KEY": "j" * 32,
        "LOGIN_LIMIT": "1000 per minute",
        "SIGNUP_LIMIT": "1000 per minute",
        "RATE_LIMIT": "10000 per minute",
        "OAUTH_GITHUB_CLIENT_ID": "an-id",
        "OAUTH_GITHUB_CLIENT_SECRET": "a-secret",
    }
    with serving(directory, url, **production) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()


class Visitor:
    """Somebody with a browser of their own, who hears whatever it complains about."""

    def __init__(self, browser: Browser, site: str, **more: object) -> None:
        self.context: BrowserContext = browser.new_context(base_url=site, viewport=WIDE, **more)  # type: ignore[arg-type]
        self.complaints: list[str] = []
        self.context.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) =>"
            " console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))"
        )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: object) -> None:
        text, kind = message.text, message.type  # type: ignore[attr-defined]
        # A page that says what is wrong has the status of an error, which the console repeats.
        of_page = message.location["url"] == self.page.url  # type: ignore[attr-defined]
        if kind in {"error", "warning"} and not (text.startswith(FAILED) and of_page):
            self.complaints.append(f"{kind} on {self.page.url}: {text}")

    def log_in(self, email: str, password: str = PASSWORD) -> None:
        self.page.goto("/account/login")
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("main").get_by_role("button", name="Log in").click()

    def log_out(self) -> None:
        self.page.goto("/account")
        self.page.get_by_role("button", name="Log out").click()

    def title(self, text: str) -> None:
        expect(self.page.get_by_role("heading", level=1)).to_have_text(text)


@pytest.fixture
def visitor(browser: Browser, site: str) -> Iterator[Visitor]:
    visitor = Visitor(browser, site)
    yield visitor
    visitor.context.close()
    assert visitor.complaints == []


def look(visitor: Visitor, pictures: Path, name: str) -> None:
    """See the page as it is shown on a telephone and on a screen."""
    page = visitor.page
    for size in (NARROW, WIDE):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.screenshot(path=pictures / f"{name}-{size['width']}.png", full_page=name != "docs")
        beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0, f"{name} is {beyond} px too wide at {size['width']}"
        found = Axe().run(page)
        assert found.violations_count == 0, f"{page.url}\n{found.generate_report()}"


def sent_empty(visitor: Visitor, path: str) -> None:
    visitor.page.goto(path)
    visitor.page.locator("main form button").first.click()
    expect(visitor.page.locator("[aria-invalid]").first).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_and_fits_the_screen(
    browser: Browser, site: str, tmp_path: Path, scheme: str
) -> None:
    visitor = Visitor(browser, site, color_scheme=scheme)
    page = visitor.page
    for name, path in {
        "home": "/",
        "login": "/account/login",
        "signup": "/account/signup",
        "not-found": "/nowhere",
        "not-allowed": "/login",
    }.items():
        page.goto(path)
        look(visitor, tmp_path, name)
    sent_empty(visitor, "/account/signup")
    look(visitor, tmp_path, "signup-wrong")
    visitor.log_in("grace@example.com", "wrong")
    look(visitor, tmp_path, "login-wrong")
    visitor.log_in("grace@example.com")
    look(visitor, tmp_path, "account")
    for name in ("edit", "password", "delete", "users"):
        page.goto(f"/account/{name}")
        look(visitor, tmp_path, name)
    page.goto("/account/users?email=nobody@example.com")
    look(visitor, tmp_path, "users-none")
    sent_empty(visitor, "/account/delete")
    look(visitor, tmp_path, "delete-wrong")
    page.goto("/")
    look(visitor, tmp_path, "home-admin")
    page.goto("/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    look(visitor, tmp_path, "docs")
    page.locator("[data-path='/ping']").click()
    expect(page.get_by_role("button", name="Try it out")).to_be_visible()
    look(visitor, tmp_path, "docs-open")
    visitor.context.close()
    assert visitor.complaints == []


def test_somebody_signs_up_and_comes_back(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    page.get_by_role("navigation").get_by_role("link", name="Sign up").click()
    page.get_by_label("Name").fill("Ann")
    page.get_by_label("E-mail").fill("new.ann@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    visitor.title("Your account")
    expect(page.get_by_role("status")).to_have_text("Welcome aboard: your account is ready.")
    (cookie,) = visitor.context.cookies()
    assert (cookie["name"], cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (
        "slipway_session",
        True,
        True,
        "Lax",
    )
    visitor.log_out()
    expect(page.get_by_role("status")).to_have_text("You are logged out.")
    page.goto("/account/edit")
    visitor.title("Log in")
    page.get_by_label("E-mail").fill("new.ann@example.com")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("E-mail or password are wrong.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    visitor.title("Your details")
    page.get_by_label("Name").fill("Ann the Second")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Ann the Second")).to_be_visible()


def test_an_admin_sees_the_users_page_by_page(visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in("grace@example.com")
    page.get_by_role("link", name="Everybody who has an account").click()
    visitor.title("Users")
    seen = page.get_by_role("rowheader").all_inner_texts()
    while (following := page.get_by_role("link", name="Next page")).count():
        following.click()
        page.wait_for_load_state()
        seen += page.get_by_role("rowheader").all_inner_texts()
    assert len(seen) == len(set(seen)) >= 46
    page.get_by_role("link", name="First page").click()
    page.get_by_label("E-mail").fill("Ann2@harbour.example.com")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("rowheader")).to_have_count(1)
    expect(page.get_by_role("rowheader")).to_contain_text("Person 2")


def test_others_do_not_see_the_users(visitor: Visitor) -> None:
    visitor.page.goto("/account/users")
    visitor.title("Log in")
    page = visitor.page
    page.get_by_role("main").get_by_role("link", name="Sign up", exact=True).click()
    page.get_by_label("Name").fill("Curious")
    page.get_by_label("E-mail").fill("curious@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    visitor.title("Forbidden")


def test_a_provider_has_a_button(visitor: Visitor) -> None:
    visitor.page.goto("/account/login?next=/account/edit")
    button = visitor.page.get_by_role("link", name="Log in with GitHub")
    expect(button).to_have_attribute("href", "/oauth/github/login?next=/account/edit")


def test_the_documentation_calls_the_api(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/docs")
    page.locator("[data-path='/ping']").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table tbody .response-col_status")).to_contain_text("200")
    expect(page.locator(".live-responses-table")).to_contain_text('"ping": "pong"')
    page.get_by_role("button", name="Authorize").click()
    page.get_by_role("textbox", name="auth-bearer-value").fill("a-token")
    page.get_by_role("button", name="Apply credentials").click()
    expect(page.get_by_role("button", name="Remove authorization")).to_be_visible()


def test_a_keyboard_reaches_the_content_first(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/account/login")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    expect(page.get_by_text("Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("E-mail")).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_every_target_is_24_px_or_more(visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in("grace@example.com")
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    for path in ("/", "/account", "/account/delete", "/account/users", "/nowhere"):
        page.goto(path)
        small = page.evaluate(
            "[...document.querySelectorAll('a:not(.skip, p a), button, input:not([type=hidden])')]"
            ".map((e) => [e.textContent.trim(), e.getBoundingClientRect().height])"
            ".filter(([, height]) => 0 < height && height < 24)"
        )
        assert small == [], path


def test_it_works_without_javascript(browser: Browser, site: str) -> None:
    visitor = Visitor(browser, site, java_script_enabled=False)
    visitor.log_in("grace@example.com")
    visitor.title("Your account")
    visitor.log_out()
    visitor.title("Log in")
    visitor.context.close()
    assert visitor.complaints == []
