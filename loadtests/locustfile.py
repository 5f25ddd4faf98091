"""What Locust loads: users, the shape of their number, and what happens around a run."""

from load import run
from load.journeys import Admin, Member
from load.rates import Fast, Scheduled
from load.shape import Shape

__all__ = ["Admin", "Fast", "Member", "Scheduled", "Shape", "run"]
