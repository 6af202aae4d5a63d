"""Training and evaluation: handlers of the engines, metrics, precision, schedule, and the stages of a recipe."""

from . import handlers, metrics, precision, processes, schedule

__all__ = ["handlers", "metrics", "precision", "processes", "schedule"]
