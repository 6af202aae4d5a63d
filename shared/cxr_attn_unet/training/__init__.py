"""Training and evaluation: handlers of the engines, loss, metrics, precision, schedule, and the stages of a recipe."""

from . import handlers, losses, metrics, precision, processes, schedule

__all__ = ["handlers", "losses", "metrics", "precision", "processes", "schedule"]
