"""What looks at a deployment from outside: SLOs, and what is generated from them."""
