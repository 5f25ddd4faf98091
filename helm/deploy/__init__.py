"""From a checkout to a release in the current kube context: `make image`, `deploy`, `undeploy`.

Standard library alone, so that it runs before anything is installed. Whatever goes wrong is a
`Failure`: one message that says what was tried, what was seen and what to do.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older one is what is told about
    sys.exit("deploy: Python 3.11 or newer is needed. Name one: make PYTHON=python3.12 deploy")
