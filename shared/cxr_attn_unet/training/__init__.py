"""Training and evaluation: handlers of the engines, metrics, precision, and the stages of a recipe."""

from . import handlers, metrics, precision

__all__ = ["handlers", "metrics", "precision"]
