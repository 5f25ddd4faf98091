"""Users of Slipway in Locust, and the verdict on whether it kept its promises meanwhile."""
