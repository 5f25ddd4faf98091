"""PromQL taken apart: what an expression asks for, and which figures stand in it."""

import re
from collections.abc import Iterator

import promql_parser as promql

from ops import duration


def _nodes(expression: str) -> list[promql.Expr]:
    found: list[promql.Expr] = []
    promql.walk(promql.parse(expression), pre_visit=found.append)
    return found


def _selectors(expression: str) -> list[promql.VectorSelector]:
    return [node for node in _nodes(expression) if isinstance(node, promql.VectorSelector)]


def metrics(expression: str) -> set[str]:
    """The names of what it selects."""
    return {selector.name for selector in _selectors(expression) if selector.name}


def matched(expression: str) -> set[tuple[str, str]]:
    """Metric and label of what it selects by."""
    return {
        (selector.name, matcher.name)
        for selector in _selectors(expression)
        for matcher in selector.matchers.matchers
        if selector.name
    }


def made(expression: str) -> set[str]:
    """The labels that it makes itself."""
    return {
        node.args[1].val
        for node in _nodes(expression)
        if isinstance(node, promql.Call) and node.func.name == "label_replace"
    }


def without_limits(expression: str) -> str:
    """The expression without what it has to be more or less than, or must not be."""
    dropped = {">", "<", ">=", "<=", "==", "!=", "unless"}

    def left(node: promql.Expr) -> promql.Expr | None:
        if isinstance(node, promql.BinaryExpr) and str(node.op) in dropped:
            return node.lhs
        return None

    return str(promql.transform(promql.parse(expression), post_visit=left))


def aggregations(expression: str) -> list[list[str]]:
    """The labels that each of its aggregations keeps."""
    return [
        list(node.modifier.labels) if node.modifier else []
        for node in _nodes(expression)
        if isinstance(node, promql.AggregateExpr)
    ]


def value(node: promql.Expr) -> float | None:
    """Of a figure, or a product of figures."""
    match node:
        case promql.NumberLiteral():
            return float(node.val)
        case promql.BinaryExpr() if str(node.op) == "*":
            left, right = value(node.lhs), value(node.rhs)
            return left * right if left is not None and right is not None else None
    return None


def thresholds(expression: str) -> set[float]:
    """What something has to be more or less than."""
    return {
        limit
        for node in _nodes(expression)
        if isinstance(node, promql.BinaryExpr) and str(node.op) in {">", "<"}
        if (limit := value(node.rhs)) is not None
    }


def windows(expression: str) -> set[float]:
    """Over how many seconds it looks, also by the names of recorded series."""
    names = (re.search(r":\w*?(\d+[smhd])$", name) for name in metrics(expression))
    return {float(duration.seconds(name[1])) for name in names if name} | {
        node.range.total_seconds()
        for node in _nodes(expression)
        if isinstance(node, promql.MatrixSelector)
    }


def figures(expression: str) -> set[float]:
    """Every one of it; durations in seconds."""
    found = {figure for node in _nodes(expression) if (figure := value(node)) is not None}
    return found | windows(expression)


# What people write behind a figure.
UNITS = {
    "%": 0.01,
    "ms": 0.001,
    "s": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86_400,
}


def told(text: str) -> Iterator[float]:
    """The figures of a text for people, as figures of an expression."""
    text = re.sub(r"{{[^}]*}}", "", text)
    for number, unit in re.findall(r"\b(\d+(?:\.\d+)?)(?: (%|ms\b|s\b|minute|hour|day))?", text):
        yield round(float(number) * UNITS.get(unit, 1), 10)
