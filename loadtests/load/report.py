"""What a run has shown: as lines for a person, as JSON for a program, in Locust's HTML report."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from load import slo
from load.measured import Measured, total
from load.profiles import Profile
from load.slo import Gate, Judged

KEPT, BROKEN, NO_RUN = 0, 1, 2

CLOSED = (
    "closed: a user asks again only after the answer and a pause. While the service is slow they\n"
    "  ask less, and the waiting of those who would have come meanwhile is not in these figures.\n"
    "  The profile `open` counts it."
)
OPEN = (
    "open: each request has its time, whatever the answers do. Percentiles count from then; in\n"
    "  brackets, what they are from when it was sent."
)


@dataclass(frozen=True)
class StageSeen:
    users: int
    seconds: float
    seen: Mapping[str, Measured]


@dataclass(frozen=True)
class Run:
    """A run that is over."""

    profile: Profile
    host: str
    # Of load, without what came after.
    seconds: float
    is_interrupted: bool
    # By route: from when requests were sent and, of those on a schedule, from when they were due.
    sent: Mapping[str, Measured]
    due: Mapping[str, Measured]
    stages: Sequence[StageSeen]
    # How often, what kind of request, what went wrong.
    errors: Sequence[tuple[int, str, str]]
    made: int
    deleted: int
    # Where to find accounts that are left: how their e-mails begin.
    prefix: str
    # Requests on a schedule that never began.
    unsent: int
    # Hosts of workers that went before the end.
    lost: Sequence[str] = ()


@dataclass(frozen=True)
class Verdict:
    """Of a run by a gate."""

    run: Run
    gate: Gate

    @property
    def judged(self) -> list[Judged]:
        judged = []
        for route, seen in sorted(self.run.sent.items()):
            # Routes that only prepare a schedule are not on it.
            times = self.run.due.get(route, seen).times
            if seen.requests:
                one = Measured(seen.requests, seen.failures, times)
                judged.append(slo.judge(route, one, self.gate.of(route)))
        return judged

    @property
    def kept(self) -> bool | None:
        if self.run.is_interrupted:
            return None
        kept = slo.kept(self.judged)
        # A promise that is kept under less load than was asked for says nothing; a broken one does.
        return None if kept and self.run.lost else kept

    @property
    def exit_code(self) -> int:
        return {True: KEPT, False: BROKEN, None: NO_RUN}[self.kept]

    @property
    def knee(self) -> StageSeen | None:
        """The last stage before the first that broke a limit; None if already the first did."""
        found = None
        for stage in self.run.stages:
            if any(one.broken for one in slo.judge_all(stage.seen, self.gate)):
                return found
            found = stage
        return found

    def text(self) -> str:
        return "\n".join(
            [
                *self._head(),
                "",
                *self._table(),
                "",
                *self._stages(),
                *self._errors(),
                *self._notes(),
                self.last_line(),
            ]
        )

    def _head(self) -> list[str]:
        run, all_routes = self.run, total(self.run.sent)
        rate = all_routes.requests / run.seconds if run.seconds else 0
        return [
            f"{run.profile.name} on {run.host}: {run.profile.peak} users at the most,"
            f" {run.seconds:.0f} s, {all_routes.requests} requests, {rate:.1f} a second",
            f"  {OPEN if run.profile.is_open else CLOSED}",
        ]

    def _table(self) -> list[str]:
        rows = [("route", "requests", "p95, ms", "p99, ms", "failed, %", "")]
        for one in self.judged:
            sent = self.run.sent[one.route] if one.route in self.run.due else None
            limits = one.limits
            rows.append(
                (
                    one.route,
                    str(one.seen.requests),
                    _against(one, "p95", 95, sent),
                    _against(one, "p99", 99, sent),
                    f"{one.seen.failed:.3g} {_sign(one, 'failures')} {limits.failures:g}",
                    one.word,
                )
            )
        return _aligned(rows)

    def _stages(self) -> list[str]:
        if len(self.run.stages) < 2:
            return []
        rows = [("users", "requests/s", "p95, ms", "p99, ms", "failed, %", "")]
        for stage in self.run.stages:
            seen, judged = total(stage.seen), slo.judge_all(stage.seen, self.gate)
            broken = [one.route for one in judged if one.broken]
            rows.append(
                (
                    str(stage.users),
                    f"{seen.requests / stage.seconds:.1f}" if stage.seconds else "-",
                    str(seen.percentile(95)),
                    str(seen.percentile(99)),
                    f"{seen.failed:.3g}",
                    f"BROKEN: {', '.join(broken)}" if broken else "ok",
                )
            )
        lines = [*_aligned(rows), ""]
        if self.run.profile.finds_knee:
            lines += [self._knee(), ""]
        return lines

    def _knee(self) -> str:
        if (knee := self.knee) is None:
            return "knee: below the first stage: begin with fewer USERS"
        rate = total(knee.seen).requests / knee.seconds
        return f"knee: {knee.users} users, {rate:.1f} requests/s are the most that kept the limits"

    def _errors(self) -> list[str]:
        return [
            f"failed: {count} x {what}: {why}" for count, what, why in sorted(self.run.errors)[::-1]
        ]

    def _notes(self) -> list[str]:
        run, notes = self.run, []
        if run.unsent:
            notes.append(
                f"unsent: {run.unsent} requests were due, and not begun when the load ended"
            )
        notes += [
            f"lost: worker {host}; its users were gone until another took them over"
            for host in run.lost
        ]
        left = run.made - run.deleted
        notes.append(f"accounts: {run.made} made, {run.deleted} deleted")
        if left > 0:
            notes.append(f"accounts: {left} may be left; their e-mails begin with {run.prefix}")
        never = [route for route in self.gate.routes if route not in self.run.sent]
        if never:
            notes.append(f"not asked: {', '.join(never)}")
        return notes

    def last_line(self) -> str:
        judged = self.judged
        broken = [one for one in judged if one.broken]
        if self.run.is_interrupted:
            return "loadtest: interrupted: no verdict"
        lost = f"less load than asked for, as {len(self.run.lost)} of the workers were lost"
        if broken:
            names = ", ".join(f"{one.route} ({', '.join(one.broken)})" for one in broken)
            under = f", under {lost}" if self.run.lost else ""
            return f"loadtest: SLO BROKEN on {len(broken)} of {len(judged)} routes: {names}{under}"
        if self.run.lost:
            return f"loadtest: no verdict: {lost}"
        if self.kept is None:
            return "loadtest: too few requests for a verdict: more USERS, or a longer DURATION"
        told = sum(one.is_told for one in judged)
        rest = f", too few requests to tell of {len(judged) - told}" if told < len(judged) else ""
        return f"loadtest: SLO kept on {told} routes{rest}"

    def json(self) -> dict[str, Any]:
        """The same for a program; times in milliseconds, failures in percent."""
        run = self.run
        return {
            "profile": run.profile.name,
            "host": run.host,
            "users": run.profile.peak,
            "seconds": round(run.seconds, 1),
            "open": run.profile.is_open,
            "kept": self.kept,
            "exit_code": self.exit_code,
            "routes": [_json(one, run.sent[one.route]) for one in self.judged],
            "stages": [
                {
                    "users": stage.users,
                    "seconds": round(stage.seconds, 1),
                    "requests": total(stage.seen).requests,
                    "p95": total(stage.seen).percentile(95),
                    "p99": total(stage.seen).percentile(99),
                    "failures": total(stage.seen).failed,
                    "broken": [
                        one.route for one in slo.judge_all(stage.seen, self.gate) if one.broken
                    ],
                }
                for stage in run.stages
            ],
            "unsent": run.unsent,
            "lost": list(run.lost),
            "accounts": {"made": run.made, "deleted": run.deleted},
        }

    def in_html(self, report: str) -> str:
        """Locust's report with the verdict on top."""
        colour = {True: "#137333", False: "#b3261e", None: "#8a6d00"}[self.kept]
        style = f"margin:0;padding:1em;border-left:1em solid {colour};background:#fff;color:#000"
        block = f'<pre id="verdict" style="{style};overflow:auto">{html.escape(self.text())}</pre>'
        return f'{block}<div id="root"></div>'.join(report.rsplit('<div id="root"></div>', 1))


def _sign(one: Judged, limit: str) -> str:
    return ">" if limit in one.broken else "≤"


def _against(one: Judged, name: str, percent: float, sent: Measured | None) -> str:
    """A percentile beside its limit and, of requests on a schedule, what it is uncorrected."""
    if name in one.too_few:
        return "too few"
    uncorrected = f" [{sent.percentile(percent)}]" if sent else ""
    return f"{getattr(one, name)}{uncorrected} {_sign(one, name)} {getattr(one.limits, name):g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "   ".join(
            cell.ljust(width) if index in {0, len(widths) - 1} else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _json(one: Judged, sent: Measured) -> dict[str, Any]:
    return {
        "route": one.route,
        "requests": one.seen.requests,
        "p95": one.p95,
        "p99": one.p99,
        "failures": one.seen.failed,
        "uncorrected": {"p95": sent.percentile(95), "p99": sent.percentile(99)},
        "limits": vars(one.limits),
        "broken": list(one.broken),
        "too_few": list(one.too_few),
    }
