"""Training and evaluation: handlers of the engines, metrics, precision, and the stages of a recipe."""
