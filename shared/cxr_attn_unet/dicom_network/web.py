"""A DICOMweb archive: searched by QIDO, read by WADO, written by STOW; through dicomweb-client."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom

from .peers import Address, Credentials, PeerError, Tls

if TYPE_CHECKING:
    import requests

__all__ = ["Query", "Reference", "WebArchive"]

TIMEOUT = (15, 300)  # seconds to connect, and to wait for the next byte
PAGE = 200  # results of a search that are asked for at once
MODALITY, SERIES_UID, STUDY_UID, INSTANCE_UID = "00080060", "0020000E", "0020000D", "00080018"
JSON_AND_XML = "application/dicom+"
# as a file has it, with its preamble; pydicom 2, with which MONAI Label runs, has another name for it
WHOLE_FILE = {"write_like_original": False} if pydicom.__version__.startswith("2.") else {"enforce_file_format": True}


@dataclass(frozen=True)
class Query:
    """Which instances are searched for.

    Attributes:
        modalities: such as CR and DX; one search each.
        body_parts: values of Body Part Examined, one search each; none asks for any.
        dates: of the study, a day or a range as DICOM writes them: ``20240101``, ``20240101-``.
    """

    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    dates: str


@dataclass(frozen=True)
class Reference:
    """An instance in an archive, by its UIDs."""

    study_uid: str
    series_uid: str
    instance_uid: str


class WebArchive:
    """A DICOMweb server.

    Args:
        address: of the service, ``http`` or ``https``.
        credentials: who we are.
        tls: certificates.
    """

    def __init__(self, address: Address, credentials: Credentials, tls: Tls) -> None:
        from dicomweb_client import DICOMwebClient  # an extra, as the next one
        from requests.auth import HTTPBasicAuth

        session = _session()
        if credentials.token:
            session.auth = _bearer(credentials.token)
        elif credentials.user:
            # as bytes, for requests would send what is not Latin-1 as question marks
            session.auth = HTTPBasicAuth(credentials.user.encode(), credentials.password.encode())
        if tls.authority:
            session.verify = tls.authority
        if tls.certificate:
            session.cert = (tls.certificate, tls.key) if tls.key else tls.certificate
        self._host = address.host
        self._client = DICOMwebClient(address.url, session, callback=_plain_content_type, permissive_uid=True)
        self._client.set_http_retry_params(retry=False)  # attempts are counted in one place, the state

    def search(self, query: Query) -> list[Reference]:
        """The instances that a query finds, each once.

        Raises:
            PeerError: the archive does not answer as it should.
        """
        found: dict[Reference, None] = {}
        for modality in query.modalities:
            for body_part in query.body_parts or ("",):
                filters = {"Modality": modality, "StudyDate": query.dates}
                if body_part:
                    filters["BodyPartExamined"] = body_part
                with _told_plainly(self._host, "the search"):
                    found.update(dict.fromkeys(self._search(filters)))
        return list(found)

    def _search(self, filters: dict[str, str]) -> Iterator[Reference]:
        offset = 0
        while True:
            page = self._client.search_for_instances(search_filters=filters, limit=PAGE, offset=offset)
            for entry in page:
                # an archive may ignore what it cannot filter by
                if _value(entry, MODALITY) in (None, filters["Modality"]):
                    yield Reference(*(str(_value(entry, tag)) for tag in (STUDY_UID, SERIES_UID, INSTANCE_UID)))
            if len(page) < PAGE:
                return
            offset += len(page)

    def fetch(self, reference: Reference) -> bytes:
        """An instance as a DICOM file.

        Raises:
            PeerError: the archive does not give it.
        """
        with _told_plainly(self._host, "the request for an instance"):
            dataset = self._client.retrieve_instance(
                reference.study_uid, reference.series_uid, reference.instance_uid, (("application/dicom", "*"),)
            )
            content = io.BytesIO()
            pydicom.dcmwrite(content, dataset, **WHOLE_FILE)
        return content.getvalue()

    def header(self, reference: Reference) -> pydicom.Dataset:
        """What an instance says of itself, without its pixels.

        Raises:
            PeerError: the archive does not give it.
        """
        with _told_plainly(self._host, "the request for a header"):
            uids = (reference.study_uid, reference.series_uid, reference.instance_uid)
            return pydicom.Dataset.from_json(self._client.retrieve_instance_metadata(*uids))

    def store(self, paths: Sequence[Path]) -> None:
        """Store DICOM files, all of them; those that it has already are no error.

        Raises:
            PeerError: one could not be stored.
        """
        datasets = [pydicom.dcmread(path) for path in paths]
        with _told_plainly(self._host, "the results"):
            answer = self._client.store_instances(datasets)
        failed = answer.get("FailedSOPSequence") or []
        if failed:
            reasons = sorted({f"{int(item.get('FailureReason', 0)):04X}" for item in failed})
            raise PeerError(f"{self._host} did not store {len(failed)} of {len(paths)} results ({', '.join(reasons)})")
        stored = {item.ReferencedSOPInstanceUID for item in answer.get("ReferencedSOPSequence") or []}
        missing = {dataset.SOPInstanceUID for dataset in datasets} - stored
        if stored and missing:
            raise PeerError(f"{self._host} does not say that it stored {len(missing)} of {len(paths)} results")


def _session() -> requests.Session:
    """A session with our timeouts, in which an authority that was named counts whatever ``REQUESTS_CA_BUNDLE`` says."""
    import requests

    class Session(requests.Session):
        def send(self, request: Any, **options: Any) -> requests.Response:
            # dicomweb-client 0.60, the last one for pydicom 2, with which MONAI Label runs, has no argument for them
            return super().send(request, **{**options, "timeout": TIMEOUT})

        def merge_environment_settings(
            self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
        ) -> Any:  # a mapping whose type differs between the stubs' versions
            named = self.verify if verify is None else verify
            return super().merge_environment_settings(url, proxies, stream, named, cert)

    return Session()


def _value(entry: dict[str, Any], tag: str) -> Any:
    """The first value of an element in DICOM's JSON; ``None`` if it has none."""
    values = entry.get(tag, {}).get("Value") or [None]
    return values[0]


def _bearer(token: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    def add(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return add


def _plain_content_type(response: requests.Response, *_: Any, **__: Any) -> requests.Response:
    """Cut a character set off the content type of an answer, with which dicomweb-client would not read it."""
    content_type = response.headers.get("Content-Type", "")
    if content_type.startswith(JSON_AND_XML):
        response.headers["Content-Type"] = content_type.partition(";")[0].strip()
    return response


@contextmanager
def _told_plainly(host: str, what: str) -> Iterator[None]:
    """Within, whatever goes wrong is a :class:`PeerError`; those of requests hold addresses with UIDs.

    Args:
        host: of the archive.
        what: was asked of it.
    """
    import requests

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except requests.HTTPError as error:
        status = 0 if error.response is None else error.response.status_code
        raise PeerError(f"{host} answered {what} with {status} {_phrase(status)}{_remedy(status)}") from None
    except requests.exceptions.SSLError:
        raise PeerError(
            f"{host}: TLS failed; check that its certificate is of an authority in --tls-ca or of the system's, and "
            "whether it asks for ours (--tls-certificate)"
        ) from None
    except requests.Timeout:
        raise PeerError(f"{host} did not answer {what} in time") from None
    except requests.RequestException as error:
        raise PeerError(f"{host} cannot be reached for {what} ({type(error).__name__})") from None
    except Exception as error:  # whatever the answer's parser meets in it
        raise PeerError(f"{host} answered {what} with what cannot be understood ({type(error).__name__})") from None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(unknown)"


def _remedy(status: int) -> str:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "; check the user and password or the token in the environment, see --help"
    return ""
