"""`make release`: the version in all its places, a commit, a tag; or nothing of it."""

from pathlib import Path

from deploy.shell import Failure, attempt, need, run, say, setting

from . import changelog, version

BRANCH = "main"


def release(root: Path) -> None:
    wanted = setting("VERSION")
    if not wanted:
        raise Failure("which version? make release VERSION=1.2.3")
    need("git")
    tag = f"v{wanted}"
    _check(root, wanted, tag)
    texts = version.bumped(root, wanted)
    before = _git(root, "rev-parse", "HEAD", what="asking for the commit").strip()
    former = {file: file.read_text() for file in texts}
    try:
        for file, text in texts.items():
            file.write_text(text)
        paths = [str(file.relative_to(root)) for file in texts]
        message = f"--message=Release {wanted}"
        _git(root, "commit", "--quiet", message, "--", *paths, what="committing")
        _git(root, "tag", "--annotate", message, tag, what=f"making the tag {tag}")
    except BaseException:
        # The tree was clean, and the tag not there: so it is again.
        attempt("git", "-C", str(root), "tag", "--delete", tag)
        for file, text in former.items():
            file.write_text(text)
        attempt("git", "-C", str(root), "reset", "--quiet", before)
        raise
    say(f"{tag} is made here. To publish it: git push --atomic origin {BRANCH} {tag}")


def _check(root: Path, wanted: str, tag: str) -> None:
    now = version.current(root)
    if version.parse(wanted) <= version.parse(now):
        raise Failure(f"{wanted} is not above {now}, which stands in {version.SOURCE.file}")
    branch = _git(root, "branch", "--show-current", what="asking for the branch").strip()
    if branch != BRANCH:
        raise Failure(f"this is {branch or 'no branch'}. Releases are of {BRANCH}")
    if changed := _git(root, "status", "--porcelain", what="asking for changes").splitlines():
        raise Failure(f"{len(changed)} files are not committed, such as {changed[0][3:]!r}")
    if attempt("git", "-C", str(root), "rev-parse", "--quiet", "--verify", f"refs/tags/{tag}"):
        raise Failure(f"the tag {tag} is there already. See it: git show {tag}")
    changelog.section(root, wanted)


def _git(root: Path, *arguments: str, what: str) -> str:
    return run("git", "-C", str(root), *arguments, what=what)
