"""`make release`, in a scratch repository: one commit and one tag, or nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from deploy.shell import Failure
from publish import changelog, registry, version

ROOT = Path(__file__).parents[2]
NEXT = "9.0.0"
SECTION = f"## [{NEXT}] - 2026-11-26\n\n### Changed\n\n- Everything.\n"
pytestmark = pytest.mark.needs("git", "make")


class Scratch:
    """A repository with what a release needs, and a changelog that tells of `NEXT`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        places = {place.file for place in (version.SOURCE, *version.COPIES)}
        for name in {"Makefile", ".gitignore", changelog.NAME, *places}:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        for package in ("helm/deploy", "helm/publish"):
            shutil.copytree(ROOT / package, folder / package)
        self.git("init", "--quiet", "--initial-branch=main")
        for setting, value in {"user.name": "T", "user.email": "t@example.org"}.items():
            self.git("config", setting, value)
        self.log(SECTION)

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def log(self, section: str) -> None:
        """Commit a changelog with that section."""
        text = (
            ROOT / changelog.NAME
        ).read_text() + f"\n{section}\n## [0.0.1] - 2026-01-01\n\n- Old.\n"
        (self.folder / changelog.NAME).write_text(text)
        self.git("add", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message=before")

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "VERSION"}}
        command = ["make", "--no-print-directory", "-C", str(self.folder), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def state(self) -> tuple[str, ...]:
        """All that a release could change."""
        references, head = self.git("show-ref"), self.git("symbolic-ref", "-q", "HEAD")
        return references, head, self.git("status", "--porcelain"), self.git("diff", "HEAD")


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


def test_every_copy_of_the_version_is_the_services() -> None:
    assert version.stale(ROOT) == []


def test_no_chart_is_without_a_version_of_ours() -> None:
    charts = {str(chart.relative_to(ROOT)) for chart in ROOT.glob("helm/*/Chart.yaml")}
    assert charts <= {place.file for place in version.COPIES}


def test_a_release_is_one_commit_and_one_tag(scratch: Scratch) -> None:
    done = scratch.make("release", f"VERSION={NEXT}")
    assert done.returncode == 0, done.stderr
    assert f"git push --atomic origin main v{NEXT}" in done.stdout
    changed = scratch.git("diff", "--name-only", "HEAD~1", "HEAD").split()
    assert set(changed) == {place.file for place in (version.SOURCE, *version.COPIES)}
    assert version.current(scratch.folder) == NEXT
    assert version.stale(scratch.folder) == []
    assert scratch.git("cat-file", "-t", f"v{NEXT}").strip() == "tag"
    assert scratch.git("rev-parse", f"v{NEXT}^{{commit}}") == scratch.git("rev-parse", "HEAD")
    assert scratch.git("status", "--porcelain") == ""
    assert scratch.make("release-notes").stdout == "### Changed\n\n- Everything.\n"


@pytest.mark.parametrize("folder", ["service", "loadtests"])
def test_uv_takes_the_lock_file_of_a_release_as_its_own(scratch: Scratch, folder: str) -> None:
    scratch.make("release", f"VERSION={NEXT}")
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "lock", "--check", "--offline", f"--project={scratch.folder / folder}"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "which version?"),
        ("1.2", "'1.2' is not a version"),
        ("v9.0.0", "'v9.0.0' is not a version"),
        ("9.0.00", "'9.0.00' is not a version"),
        ("9.0.0-rc.1", "'9.0.0-rc.1' is not a version"),
        ("0.0.1", "0.0.1 is not above"),
        (version.current(ROOT), "is not above"),
        ("9.9.9", "no section '## [9.9.9]"),
    ],
)
def test_a_version_that_cannot_be_is_refused(scratch: Scratch, given: str, said: str) -> None:
    before = scratch.state()
    done = scratch.make("release", f"VERSION={given}")
    assert done.returncode != 0
    assert said in done.stderr.splitlines()[0]
    assert scratch.state() == before


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda s: (s.folder / "new.py").write_text(""), "not committed, such as 'new.py'"),
        (lambda s: (s.folder / ".gitignore").write_text(""), "such as '.gitignore'"),
        (lambda s: s.git("tag", f"v{NEXT}"), f"the tag v{NEXT} is there already"),
        (lambda s: s.git("switch", "--quiet", "--create=fix"), "this is fix. Releases are of main"),
        (lambda s: s.log(f"## [{NEXT}]\n\n- Something.\n"), "has no date"),
        (lambda s: s.log(f"## [{NEXT}] - 26.11.2026\n\n- Something.\n"), "has no date"),
        (lambda s: s.log(f"## [{NEXT}] - 2026-11-26\n"), "says nothing below"),
    ],
    ids=["untracked", "changed", "tagged", "branch", "undated", "misdated", "empty"],
)
def test_a_repository_that_is_not_ready_is_refused(
    scratch: Scratch, spoil: Callable[[Scratch], object], said: str
) -> None:
    spoil(scratch)
    before = scratch.state()
    done = scratch.make("release", f"VERSION={NEXT}")
    assert done.returncode != 0
    assert said in done.stderr.splitlines()[0]
    assert scratch.state() == before


@pytest.mark.parametrize("fails", ["commit", "tag"])
def test_a_release_that_fails_half_way_leaves_nothing(scratch: Scratch, fails: str) -> None:
    """A hook refuses the commit; or there is nobody to sign the tag, and the commit is there."""
    if fails == "commit":
        hook = scratch.folder / ".git/hooks/pre-commit"
        hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
        hook.chmod(0o755)
    else:
        scratch.git("config", "tag.gpgSign", "true")
        scratch.git("config", "gpg.program", "false")
    before = scratch.state()
    done = scratch.make("release", f"VERSION={NEXT}")
    assert done.returncode != 0
    assert scratch.state() == before
    assert version.current(scratch.folder) == version.current(ROOT)


def test_the_changelog_has_its_form() -> None:
    headings = changelog.HEADING.findall((ROOT / changelog.NAME).read_text())
    assert headings[0] == ("Unreleased", "")
    released = [name for name, _ in headings[1:]]
    assert released == sorted(released, key=version.parse, reverse=True)
    for name in released:
        changelog.section(ROOT, name)


def test_a_version_without_notes_is_told() -> None:
    with pytest.raises(Failure, match=r"no section '## \[8\.0\.0\]"):
        changelog.section(ROOT, "8.0.0")


@pytest.mark.needs("cosign")
def test_without_a_key_the_release_workflow_of_that_version_must_have_signed(
    tmp_path: Path,
) -> None:
    """The stub stands for cosign, which would ask the public log; the true one knows the flags."""
    (tmp_path / "cosign").write_text('#!/bin/sh\necho "$@" >"$SEEN"\n')
    (tmp_path / "cosign").chmod(0o755)
    image = f"registry.example.org/slipway:{NEXT}@sha256:{'0' * 64}"

    def seen(action: str) -> list[str]:
        settings = {"GITHUB_REPOSITORY": "you/yours", "SEEN": str(tmp_path / "seen")}
        settings |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "helm")}
        command = [sys.executable, "-m", "publish", action]
        subprocess.run(command, env=settings | {"IMAGE": image}, check=True, capture_output=True)
        return (tmp_path / "seen").read_text().split()

    assert seen("sign") == ["sign", "--yes", image]
    verified = seen("verify")
    assert verified == [
        "verify",
        f"--certificate-identity=https://github.com/you/yours/{registry.WORKFLOW}@refs/tags/v{NEXT}",
        "--certificate-oidc-issuer=https://token.actions.githubusercontent.com",
        image,
    ]
    assert (ROOT / registry.WORKFLOW).is_file()
    told = subprocess.run(
        ["cosign", "verify", "--help"], check=True, capture_output=True, text=True
    )
    assert all(flag.partition("=")[0] in told.stdout for flag in verified[1:3])
