"""MONAI Label's entry to the application: monailabel start_server --app label --studies DIR (see docs/label.md)."""

from lib import ChestRadiographApp as MyApp  # noqa: F401
