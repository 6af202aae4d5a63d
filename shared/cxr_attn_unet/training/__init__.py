"""Training and evaluation: handlers of the engines, loss, metrics, precision, schedule, and the stages of a recipe."""

from . import augmentation, handlers, losses, metrics, precision, processes, recompute, schedule

__all__ = ["augmentation", "handlers", "losses", "metrics", "precision", "processes", "recompute", "schedule"]
