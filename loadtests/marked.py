"""Tables that a command writes into a README, between two marks."""

import re

from deploy.shell import Failure


def quote(document: str, name: str, block: str) -> str:
    """`document` with `block` between the marks of that name. Raises Failure where they are not."""
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not marked.search(document):
        raise Failure(f"there is no <!-- {name} --> … <!-- /{name} --> to fill")
    return marked.sub(lambda match: f"{match[1]}{block}\n{match[2]}", document)
