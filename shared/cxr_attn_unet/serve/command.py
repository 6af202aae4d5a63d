"""Serve a page and an HTTP service that segment one radiograph at a time."""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..inference.segmenter import bundle_structures
from ..io.limits import DEFAULT_MAX_PIXELS, MAX_PIXELS_VARIABLE, max_pixels
from .settings import Bundles, Limits, is_loopback

if TYPE_CHECKING:
    import uvicorn

__all__ = ["EXAMPLES", "add_arguments", "main"]

NOT_STARTED = 2
PACKAGES = ("fastapi", "uvicorn", "python_multipart")
STOP_SECONDS = 5
MOST_CONNECTIONS = 64

EXAMPLES = """examples:
  cxr-attn-unet serve                         # then open http://127.0.0.1:8090
  cxr-attn-unet serve --structures lungs heart --port 0
  curl -F file=@radiograph.dcm 'http://127.0.0.1:8090/api/radiographs?wait=60'

Without --host, this machine alone reaches it. There is no login. Exit status: 0 stopped, 2 nothing could be started.
For research; not a medical device, not for diagnosis."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    limits = Limits()
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    parser.add_argument("--port", type=int, default=8090, help="0 takes a free one (default: 8090)")
    parser.add_argument(
        "--allowed-host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names under which browsers may ask for it, besides localhost and addresses as numbers",
    )
    parser.add_argument("--structures", nargs="+", metavar="NAME", help="such as lungs heart (default: all)")
    parser.add_argument("--bundles", help="folder of the bundles (default: those of this package, or $CXR_BUNDLES)")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run bundles that did not come with this package, whose configs can run code",
    )
    parser.add_argument("--device", help="such as cpu, cuda:1 (default: a GPU where there is one)")
    parser.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help=f"refuse radiographs of more pixels (default: ${MAX_PIXELS_VARIABLE}, or {DEFAULT_MAX_PIXELS})",
    )
    parser.add_argument(
        "--max-megabytes",
        type=int,
        default=limits.bytes >> 20,
        metavar="N",
        help=f"refuse larger uploads (default: {limits.bytes >> 20})",
    )
    parser.add_argument(
        "--queue",
        type=int,
        default=limits.waiting,
        metavar="N",
        help=f"radiographs that may wait; more are told to come back later (default: {limits.waiting})",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=limits.seconds,
        metavar="SECONDS",
        help=f"that one radiograph may take (default: {limits.seconds:g})",
    )
    parser.add_argument(
        "--keep-minutes",
        type=float,
        default=limits.keep_seconds / 60,
        metavar="N",
        help="that a result stays in memory after it was last asked for, of at most "
        f"{limits.kept} (default: {limits.keep_seconds / 60:g})",
    )
    parser.add_argument(
        "--keep", metavar="FOLDER", help="also keep each radiograph and its results as files (default: nothing is kept)"
    )


def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        return _stop(f"serve needs {', '.join(missing)}; install them: pip install 'cxr-attn-unet[serve]'")
    try:
        limits = _limits(options)
        # before a process is started, for that takes longer
        structures = bundle_structures(options.structures, options.bundles)
        listening = _listen(options.host, options.port)
    except (ValueError, OSError) as error:
        return _stop(str(error))
    # of "kill", a service manager, a container that stops: ends the server as Ctrl-C does, so that nothing is left
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with listening, tempfile.TemporaryDirectory(prefix="cxr-serve-") as folder:
            return _serve(options, structures, limits, listening, Path(folder))
    finally:
        signal.signal(signal.SIGTERM, former)


def _serve(
    options: argparse.Namespace, structures: tuple[str, ...], limits: Limits, listening: socket.socket, folder: Path
) -> int:
    # an extra, which those who do not serve need not have
    import uvicorn

    from .app import build_app
    from .jobs import Jobs
    from .worker import Worker, WorkerError

    worker = Worker(Bundles(structures, options.bundles, options.device, options.max_pixels, options.trust), limits)
    try:
        about = worker.start()
        if not about.dicom:
            _say("cxr-attn-unet: no DICOM results, for highdicom is missing: pip install 'cxr-attn-unet[serve]'")
        names = [options.host, *options.allowed_host]
        app = build_app(Jobs(worker, limits, folder), about, limits, names)
        _say_where(options.host, listening)
        logging.getLogger("cxr_attn_unet.serve").setLevel(logging.INFO)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        _run(uvicorn.Server(config), listening)
    except WorkerError as error:
        return _stop(str(error))
    finally:
        worker.stop()
    return 0


def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until a signal comes."""
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again once it has finished what it was doing
        server.run([listening])


def _limits(options: argparse.Namespace) -> Limits:
    """The limits of a command line.

    Raises:
        ValueError: a number is out of range.
        OSError: the folder cannot be made.
    """
    for name, least in (("max_pixels", 1), ("max_megabytes", 1), ("queue", 0), ("timeout", 1), ("keep_minutes", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')} is {value:g}, must be {least} or more")
    max_pixels()  # of the environment
    folder = None
    if options.keep is not None:
        folder = Path(options.keep)
        folder.mkdir(parents=True, exist_ok=True)
    return Limits(
        waiting=options.queue,
        bytes=options.max_megabytes << 20,
        seconds=options.timeout,
        keep_seconds=60 * options.keep_minutes,
        folder=folder,
    )


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OSError: the address is not one of this machine, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        listening = socket.socket(family, kind)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()
        except OSError:
            listening.close()
            raise
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"cannot listen on {host}, port {port} ({reason}); name others with --host and --port") from error
    return listening


def _say_where(host: str, listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    if is_loopback(host):
        shown = f"[{host}]" if ":" in host else host
        _say(f"Open http://{shown}:{port} (this machine alone reaches it; Ctrl-C stops it)")
        return
    _say(
        f"Listening on {host}, port {port}: OTHERS ON THE NETWORK REACH IT. There is no login and no encryption; "
        "whoever reaches it can send radiographs. Put a proxy with both before it."
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _stop(message: str) -> int:
    _say(f"cxr-attn-unet: {message}")
    return NOT_STARTED
