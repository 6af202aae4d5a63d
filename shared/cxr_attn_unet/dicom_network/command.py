"""The commands ``cxr-attn-unet dicom``: radiographs from an archive or a sender, their results back by the network."""

from __future__ import annotations

import argparse
import logging
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from types import FrameType

from ..output import FORMATS
from ..segment import add_segmenter_arguments, load_segmenter
from .dimse import Receiver, StorageUser
from .monitor import HEALTH, METRICS, Monitor
from .peers import Address, Credentials, Destination, Tls, check_packages, parse_address, parse_title
from .state import State
from .web import Query, WebArchive
from .work import ArchiveSource, ReceivedSource, Retries, Selection, Source, Worker

__all__ = ["EXAMPLES", "add_arguments", "main"]

NOT_STARTED = 2
DICOM_FORMATS = [name for name, form in FORMATS.items() if form.dicom_only]
ANY = "any"
DAY = r"\d{8}"
FROM, TO = "CXR_DICOM_FROM", "CXR_DICOM_TO"

logger = logging.getLogger(__name__)

EXAMPLES = """examples:
  cxr-attn-unet dicom watch --from https://archive.example/dicom-web --state /var/lib/cxr
  cxr-attn-unet dicom watch --from http://127.0.0.1:8042/dicom-web --to dicom://ORTHANC@127.0.0.1:4242 --state cxr \\
      --date 20240101-20240131 --once
  cxr-attn-unet dicom receive --port 11112 --to dicom://ORTHANC@127.0.0.1:4242 --state cxr --metrics-port 9180
  cxr-attn-unet dicom status --state cxr
  cxr-attn-unet dicom dead-letters --state cxr --retry

For research; not a medical device, not for diagnosis.
"""
SERVICE = f"""
environment, for DICOMweb servers that ask who we are:
  {FROM}_USER and {FROM}_PASSWORD, or {FROM}_TOKEN     of the archive that is read (--from)
  {TO}_USER and {TO}_PASSWORD, or {TO}_TOKEN           of the archive that is written (--to)

SIGTERM and Ctrl-C end the service after the radiograph in hand; what waits is done after the next start.
Exit status: 0 ended, 1 with --once something waits or was given up, 2 could not be started.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands to a parser."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    watch = _command(
        commands, "watch", "search an archive by DICOMweb, segment what is new, store the results", SERVICE
    )
    watch.add_argument(
        "--from", required=True, dest="origin", metavar="URL", help="DICOMweb service that is searched and read"
    )
    watch.add_argument(
        "--to",
        metavar="URL",
        help="where results go: DICOMweb, dicom://AE_TITLE@HOST:PORT, or dicoms:// with TLS (default: where they come "
        "from)",
    )
    dates = watch.add_mutually_exclusive_group()
    dates.add_argument(
        "--days", type=int, default=2, help="dates of studies: the last N days (default: 2)", metavar="N"
    )
    dates.add_argument("--date", help="dates of studies: 20240101, 20240101-20240131 or 20240101-", metavar="RANGE")
    watch.add_argument("--every", type=float, default=60, metavar="SECONDS", help="time between searches (default: 60)")
    watch.add_argument("--once", action="store_true", help="search once, do what is due, and end")
    _add_service_arguments(watch)

    receive = _command(commands, "receive", "take in radiographs by C-STORE, segment them, store the results", SERVICE)
    receive.add_argument(
        "--to",
        required=True,
        metavar="URL",
        help="where results go: dicom://AE_TITLE@HOST:PORT, dicoms:// with TLS, or DICOMweb",
    )
    receive.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    receive.add_argument("--port", type=int, default=11112, help="port to listen on (default: 11112)")
    receive.add_argument(
        "--allow", nargs="+", default=[], metavar="AE_TITLE", help="who may send (default: everyone who reaches us)"
    )
    receive.add_argument(
        "--tls",
        action="store_true",
        help="listen with TLS; with --tls-ca, only to those who show a certificate of that authority",
    )
    _add_service_arguments(receive)

    status = _command(commands, "status", "say how many radiographs wait, are done, were skipped or given up")
    _add_state(status)
    letters = _command(commands, "dead-letters", "list radiographs that were given up; try them again, or discard them")
    _add_state(letters)
    letters.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="which ones (default: all)")
    what = letters.add_mutually_exclusive_group()
    what.add_argument("--retry", action="store_true", help="put them back in the queue")
    what.add_argument("--discard", action="store_true", help="be done with them, and remove their files")


def _command(commands: argparse._SubParsersAction, name: str, text: str, more: str = "") -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=EXAMPLES + more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state", required=True, metavar="FOLDER", help="what is remembered, and files until they are done"
    )


def _add_service_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that both services have."""
    _add_state(parser)
    parser.add_argument(
        "--format",
        nargs="+",
        default=["dicom-seg", "dicom-sr"],
        choices=DICOM_FORMATS,
        metavar="FORMAT",
        dest="formats",
        help=f"of {', '.join(DICOM_FORMATS)} (default: dicom-seg dicom-sr)",
    )
    parser.add_argument(
        "--modality", nargs="+", default=["CR", "DX"], metavar="CODE", help="which radiographs (default: CR DX)"
    )
    parser.add_argument(
        "--body-part",
        nargs="+",
        default=["CHEST"],
        metavar="CODE",
        help=f"which radiographs, by Body Part Examined; {ANY} for all (default: CHEST)",
    )
    parser.add_argument(
        "--attempts", type=int, default=Retries.attempts, help="before one is given up (default: %(default)s)"
    )
    parser.add_argument(
        "--retry-after",
        type=float,
        default=Retries.first,
        metavar="SECONDS",
        help="time to the second attempt, doubled with each further one up to an hour (default: %(default)s)",
    )
    parser.add_argument(
        "--metrics-port", type=int, metavar="PORT", help=f"answer {HEALTH} and {METRICS} on 127.0.0.1 (default: no)"
    )
    parser.add_argument("--ae-title", default="CXR_ATTN_UNET", help="our own AE title (default: %(default)s)")
    parser.add_argument("--tls-ca", metavar="FILE", help="PEM of the authority to trust (default: the system's)")
    parser.add_argument("--tls-certificate", metavar="FILE", help="PEM of our certificate")
    parser.add_argument("--tls-key", metavar="FILE", help="PEM of its key, if it is in another file")
    add_segmenter_arguments(parser)


def main(options: argparse.Namespace) -> int:
    """Run a command; returns the exit status."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "watch": _watch,
        "receive": _receive,
        "status": _status,
        "dead-letters": _dead_letters,
    }
    try:
        return actions[options.action](options)
    except (OSError, ImportError, ValueError, RuntimeError) as error:
        print(f"cxr-attn-unet: {error}", file=sys.stderr)
        return NOT_STARTED


def _status(options: argparse.Namespace) -> int:
    state = State.existing(options.state)
    for stage, count in state.counts().items():
        print(f"{stage:8} {count}")
    oldest = state.oldest_waiting()
    if oldest is not None:
        print(f"the oldest that waits came {_time(oldest)}")
    return 0


def _dead_letters(options: argparse.Namespace) -> int:
    state = State.existing(options.state)
    if options.retry:
        print(f"{state.revive(options.numbers)} are tried again")
        return 0
    if options.discard:
        print(f"{state.discard(options.numbers)} discarded")
        return 0
    for letter in state.dead_letters(options.numbers):
        # the UIDs are for whoever asks; logs have the number alone
        print(f"{letter.number}\t{_time(letter.added)}\t{letter.instance_uid}\t{letter.reason}")
    return 0


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _watch(options: argparse.Namespace) -> int:
    tls = _prepared(options)
    origin = parse_address(options.origin)
    if not origin.is_web:
        raise ValueError(f"{options.origin}: --from is searched by DICOMweb. Give https://HOST/dicom-web.")
    query = _query_of(options)
    archive = WebArchive(origin, _credentials(FROM, origin), tls)
    destination = archive if options.to is None else _destination(options, tls)
    with _held(options) as state:
        source = ArchiveSource(archive, query, options.every, state)
        worker = _worker(options, state, source, destination)
        logger.info(f"watching {origin.host}")
        well = worker.run(options.once)
    return int(options.once and not well)


def _receive(options: argparse.Namespace) -> int:
    tls = _prepared(options)
    context = tls.server_context() if options.tls else None
    callers = [parse_title(title) for title in options.allow]
    destination = _destination(options, tls)
    with _held(options) as state:
        worker = _worker(options, state, ReceivedSource(state), destination)
        receiver = Receiver(state, parse_title(options.ae_title), callers, context, worker.wake)
        port = receiver.start(options.host, options.port)
        logger.info(f"receiving as {options.ae_title} on {options.host}:{port}")
        try:
            worker.run()
        finally:
            receiver.stop()
    return 0


def _prepared(options: argparse.Namespace) -> Tls:
    """Check what both services are given, before anything is loaded; returns the certificates.

    Raises:
        ValueError: a value that cannot be.
        ImportError: a package is missing.
    """
    for name in ("attempts", "retry_after", "every", "days"):
        if getattr(options, name, 1) <= 0:
            raise ValueError(f"--{name.replace('_', '-')} must be more than 0")
    check_packages("pynetdicom", "dicomweb_client", "prometheus_client")
    parse_title(options.ae_title)
    tls = Tls(options.tls_ca, options.tls_certificate, options.tls_key)
    tls.check()
    _log()
    return tls


def _log() -> None:
    """Log to standard error, with times; what other packages log of UIDs is left out."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    service = logging.getLogger(__package__)
    service.handlers = [handler]
    service.setLevel(logging.INFO)
    service.propagate = False
    for name in ("dicomweb_client", "retrying", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("pynetdicom").setLevel(logging.ERROR)


def _query_of(options: argparse.Namespace) -> Callable[[], Query]:
    """What makes the query of a search.

    Raises:
        ValueError: dates that are none.
    """
    modalities = tuple(options.modality)
    body_parts = _body_parts(options)
    if options.date is not None:
        if not re.fullmatch(f"{DAY}(-({DAY})?)?|-{DAY}", options.date):
            raise ValueError(f"--date is {options.date}, must be like 20240101, 20240101-20240131 or 20240101-")
        return lambda: Query(modalities, body_parts, options.date)

    def of_last_days() -> Query:
        first = date.today() - timedelta(days=options.days - 1)
        return Query(modalities, body_parts, f"{first:%Y%m%d}-")

    return of_last_days


def _body_parts(options: argparse.Namespace) -> tuple[str, ...]:
    """Those wanted; none for any."""
    wanted = tuple(part.upper() for part in options.body_part)
    return () if ANY.upper() in wanted else wanted


def _destination(options: argparse.Namespace, tls: Tls) -> Destination:
    address = parse_address(options.to)
    if address.is_web:
        return WebArchive(address, _credentials(TO, address), tls)
    if address.is_readable_on_the_way:
        _warn_of(address)
    return StorageUser(address, parse_title(options.ae_title), tls)


def _credentials(prefix: str, address: Address) -> Credentials:
    credentials = Credentials.from_environment(prefix)
    if address.is_readable_on_the_way:
        _warn_of(address)
    return credentials


def _warn_of(address: Address) -> None:
    logger.warning(f"{address.host}: without TLS; whoever is on the way can read what is sent, passwords too")


@contextmanager
def _held(options: argparse.Namespace) -> Iterator[State]:
    """The state, for this process alone; says at the end what is in it."""
    state = State(options.state)
    try:
        state.hold()
        yield state
        logger.info(f"ended: {', '.join(f'{count} {stage}' for stage, count in state.counts().items())}")
    finally:
        state.close()


def _worker(options: argparse.Namespace, state: State, source: Source, destination: Destination) -> Worker:
    """The worker, which signals end; with health and metrics if they are wanted."""
    segmenter = load_segmenter(options)
    monitor = Monitor(state)
    if options.metrics_port is not None:
        logger.info(f"{HEALTH} and {METRICS} on 127.0.0.1:{monitor.serve(options.metrics_port)}")
    worker = Worker(
        state,
        source,
        segmenter,
        destination,
        options.formats,
        Selection(options.modality, _body_parts(options)),
        Retries(options.attempts, options.retry_after),
        monitor,
    )
    if threading.current_thread() is threading.main_thread():
        _let_signals_end(worker)
    return worker


def _let_signals_end(worker: Worker) -> None:
    """SIGTERM and Ctrl-C end the worker after the instance in hand; a second one ends it at once."""

    def end(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.default_int_handler)
        logger.info("ending after the radiograph in hand")
        worker.stop()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, end)
