"""What is read off the masks: measurements, and whether the radiograph and its masks can be right."""

from .measurements import MEASUREMENTS, measure

__all__ = ["MEASUREMENTS", "measure"]
