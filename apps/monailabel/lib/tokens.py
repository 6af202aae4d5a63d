"""Lets MONAI Label check the tokens of users.

MONAI Label 0.8.5 asks PyJWT to check a token without naming the algorithm of its signature, which every PyJWT that it
allows refuses: with ``MONAI_LABEL_AUTH_ENABLE``, nobody could log in. Named here is the one that Keycloak signs with;
as it needs the realm's private key, no other can stand in for it.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import jwt
from monailabel.endpoints.user import auth

__all__ = ["ALGORITHMS", "name_the_algorithm"]

ALGORITHMS = ["RS256"]


def name_the_algorithm() -> None:
    """Let MONAI Label take tokens that are signed by :data:`ALGORITHMS`, and no others."""
    auth.jwt = SimpleNamespace(decode=partial(jwt.decode, algorithms=ALGORITHMS))
