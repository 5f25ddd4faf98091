"""How much a deployment bears: the highest rate that keeps the SLO, and what it says of sizes.

A release of its own gets load from a pod beside it: users of the profile `open`, at one rate after
the other, without the API server or a node's port in between. The chart of the load tests makes a
run for one rate; a search needs the same users for many, so its image is used without its chart.
"""
