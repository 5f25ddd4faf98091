"""From a commit to a release that others can check: `make release`, `push`, `sign` and their like.

A release here is a version of the whole: tag, image, chart. What Helm calls so is `deploy.release`.
Standard library alone, as in `deploy`, whose way of running tools and of telling failures it takes.
"""
