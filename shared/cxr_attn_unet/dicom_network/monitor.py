"""Health and metrics of a running service, over HTTP on this machine; through prometheus-client."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from .state import DEAD, WAITING, State

__all__ = ["HEALTH", "METRICS", "STUCK_SECONDS", "Monitor"]

HOST = "127.0.0.1"
HEALTH = "/health"
METRICS = "/metrics"
PREFIX = "cxr_attn_unet_dicom"
STEPS = ("fetch", "segment", "store")
STUCK_SECONDS = 900.0  # an instance takes seconds; the longest waits for a network end before
BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)


class Monitor:
    """What a service says of itself: ``/health`` for whoever restarts it, ``/metrics`` for Prometheus.

    Args:
        state: counted when it is asked for.
    """

    def __init__(self, state: State) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram  # an extra

        self._state = state
        self._beat = time.monotonic()
        self._last_failure = ""
        self._registry = CollectorRegistry()
        self._registry.register(_StateCollector(state))
        self._failures = Counter(
            f"{PREFIX}_failures", "Attempts that failed, by step.", ["step"], registry=self._registry
        )
        self._seconds = Histogram(
            f"{PREFIX}_seconds", "Time that a step took.", ["step"], buckets=BUCKETS, registry=self._registry
        )
        for step in STEPS:
            self._seconds.labels(step)
        for step in (*STEPS, "search"):
            self._failures.labels(step)

    def beat(self) -> None:
        """Say that the work goes on."""
        self._beat = time.monotonic()

    def failed(self, step: str, reason: str) -> None:
        """Count a step that failed."""
        self._failures.labels(step).inc()
        self._last_failure = reason

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Within, a step is made."""
        with self._seconds.labels(step).time():
            yield

    def serve(self, port: int) -> int:
        """Answer on the loopback from a thread; returns the port, which is a free one where 0 was given.

        Raises:
            OSError: the port is taken.
        """
        server = make_server(HOST, port, self._application(), WSGIServer, _SilentHandler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return int(server.server_port)

    def _application(self) -> Callable[..., Iterable[bytes]]:
        from prometheus_client import make_wsgi_app

        metrics = make_wsgi_app(self._registry)

        def answer(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            path = environment.get("PATH_INFO")
            if path == METRICS:
                return metrics(environment, start)
            if path == HEALTH:
                status, content = self._health()
                start(status, [("Content-Type", "application/json")])
                return [json.dumps(content).encode()]
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [f"There are {HEALTH} and {METRICS}.\n".encode()]

        return answer

    def _health(self) -> tuple[str, dict[str, Any]]:
        """Status line and content; an archive that is away does not make a service sick: a restart mends nothing."""
        seconds = time.monotonic() - self._beat
        well = seconds < STUCK_SECONDS
        counts = self._state.counts()
        content = {
            "status": "ok" if well else "stuck",
            "seconds_since_last_sign": round(seconds, 1),
            "waiting": counts[WAITING],
            "dead_letters": counts[DEAD],
            "last_failure": self._last_failure,
        }
        return "200 OK" if well else "503 Service Unavailable", content


class _StateCollector:
    """The numbers of a state, as they are when they are asked for."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        counts = GaugeMetricFamily(f"{PREFIX}_instances", "Instances known, by stage.", labels=["stage"])
        for stage, count in self._state.counts().items():
            counts.add_metric([stage], count)
        yield counts
        oldest = self._state.oldest_waiting()
        seconds = 0.0 if oldest is None else max(0.0, time.time() - oldest)
        yield GaugeMetricFamily(
            f"{PREFIX}_oldest_waiting_seconds", "Time since the instance that waits longest came.", value=seconds
        )


class _SilentHandler(WSGIRequestHandler):
    """Without a line in the log for each request."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
