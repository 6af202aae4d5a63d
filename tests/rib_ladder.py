"""Chests drawn as two ladders of ribs, and what a network that is right and sure says of them."""

import numpy as np

ROWS, COLUMNS = 260, 300
SPINE = 150
HEIGHT = 10
FIRST, LAST = 2, 11  # ribs that are drawn
RIGHT, LEFT = 0, 12  # first index of a side's parts


def rib_mask(number, right):
    """A posterior rib that leaves the spine 20 columns from the middle and slopes down to the side."""
    mask = np.zeros((ROWS, COLUMNS), bool)
    for away in range(20, 140):
        row = 20 * number - 20 + away // 8
        column = SPINE - away if right else SPINE + away
        mask[row : row + HEIGHT, column] = True
    return mask


def chest():
    """Probabilities of any rib and of each number, ``(25, ROWS, COLUMNS)``, all right and sure."""
    probabilities = np.full((25, ROWS, COLUMNS), 0.01, np.float32)
    for number in range(FIRST, LAST + 1):
        for right in (True, False):
            mask = rib_mask(number, right)
            probabilities[0][mask] = 0.95
            probabilities[(RIGHT if right else LEFT) + number][mask] = 0.9
    return probabilities


def swap(probabilities, number, right, columns):
    """Some columns of a rib take the number below."""
    side = RIGHT if right else LEFT
    there = np.zeros((ROWS, COLUMNS), bool)
    there[:, columns] = rib_mask(number, right)[:, columns]
    probabilities[side + number][there] = 0.1
    probabilities[side + number + 1][there] = 0.85
