"""C-STORE: a provider that takes radiographs in, and a user that sends results; through pynetdicom."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from ..io.dicom.decoders import can_decode
from .peers import DICOM_TLS, Address, PeerError, Tls
from .state import DEAD, State

__all__ = ["Receiver", "StorageUser"]

RADIOGRAPHS = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)
UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
LOSSLESS = (JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless, RLELossless)
RADIOGRAPH_BITS = 16
MOST_ASSOCIATIONS = 10
SECONDS = 60.0  # to wait for the other side

SUCCESS = 0x0000
DUPLICATE = 0x0111  # PS3.7 C.4.3: the other side has it already
WARNINGS = range(0xB000, 0xC000)  # stored, though not to the letter
OUT_OF_RESOURCES = 0xA700

logger = logging.getLogger(__name__)


class Receiver:
    """A storage provider: each radiograph that it accepts is on the disk and in the state before it says so.

    Args:
        state: where they are noted.
        title: our AE title.
        callers: AE titles that may send; all if empty.
        tls: for connections with TLS; ``None`` without.
        on_received: called for each new one, from the connection's thread.
    """

    def __init__(
        self,
        state: State,
        title: str,
        callers: Sequence[str],
        tls: ssl.SSLContext | None,
        on_received: Callable[[], None],
    ) -> None:
        self._state = state
        self._tls = tls
        self._on_received = on_received
        self._entity = _entity(title)
        self._entity.maximum_associations = MOST_ASSOCIATIONS
        self._entity.require_called_aet = True
        self._entity.require_calling_aet = list(callers)
        syntaxes = [*UNCOMPRESSED, *(syntax for syntax in LOSSLESS if can_decode(syntax, RADIOGRAPH_BITS))]
        for kind in RADIOGRAPHS:
            self._entity.add_supported_context(kind, syntaxes)
        self._entity.add_supported_context("1.2.840.10008.1.1")  # verification, C-ECHO
        self._server: Any = None

    def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which is a free one where 0 was given.

        Raises:
            OSError: the port is taken, or the host is not this machine.
        """
        from pynetdicom import evt  # an extra

        self._server = self._entity.start_server(
            (host, port), block=False, ssl_context=self._tls, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        return int(self._server.socket.getsockname()[1])

    def stop(self) -> None:
        """Take no more, and close the connections that are open."""
        self._entity.shutdown()

    def _store(self, event: Any) -> int:
        """What is answered to a C-STORE request."""
        uid = str(event.request.AffectedSOPInstanceUID)
        try:
            known = self._state.get(uid)
            if known is None or known.stage == DEAD:
                self._state.keep_file(uid, event.encoded_dataset())
            if known is not None and known.stage == DEAD:
                # sent again, perhaps corrected
                self._state.revive([known.number])
            elif not self._state.add(uid):
                return SUCCESS
        except Exception as error:  # a full disk above all; its sender keeps the radiograph and tries again
            logger.error(f"a radiograph was not taken in ({type(error).__name__}); its sender was told")
            return OUT_OF_RESOURCES
        self._on_received()
        return SUCCESS


class StorageUser:
    """Sends files to a storage provider.

    Args:
        address: of the provider, ``dicom`` or ``dicoms``.
        title: our AE title.
        tls: certificates.
    """

    def __init__(self, address: Address, title: str, tls: Tls) -> None:
        self._address = address
        self._title = title
        self._tls = (tls.client_context(), address.host) if address.scheme == DICOM_TLS else None

    def store(self, paths: Sequence[Path]) -> None:
        """Store DICOM files, all of them; those that the provider has already are no error.

        Raises:
            PeerError: one could not be stored.
        """
        entity = _entity(self._title)
        for kind, syntax in dict.fromkeys(_kind_and_syntax(path) for path in paths):
            entity.add_requested_context(kind, syntax)
        address = self._address
        association = entity.associate(address.host, address.port, ae_title=address.title, tls_args=self._tls)
        if not association.is_established:
            why = "refuses the association" if association.is_rejected else "cannot be reached, or TLS failed"
            raise PeerError(f"{address.title} at {address.host}:{address.port} {why}")
        try:
            for path in paths:
                self._send(association, path)
        finally:
            association.release()

    def _send(self, association: Any, path: Path) -> None:
        kind, _ = _kind_and_syntax(path)
        title = self._address.title
        try:
            answer = association.send_c_store(path)
        except ValueError as error:
            raise PeerError(f"{title} does not take objects of the kind {kind.name}") from error
        except RuntimeError as error:
            raise PeerError(f"{title} ended the association") from error
        status = answer.get("Status")
        if status is None:
            raise PeerError(f"{title} did not answer in time")
        if status not in (SUCCESS, DUPLICATE, *WARNINGS):
            raise PeerError(f"{title} did not store a result (status {status:04X}, {kind.name})")


def _entity(title: str) -> Any:
    from pynetdicom import AE

    entity = AE(ae_title=title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = SECONDS
    return entity


def _kind_and_syntax(path: Path) -> tuple[UID, UID]:
    """SOP class and transfer syntax of a file."""
    meta = pydicom.filereader.read_file_meta_info(path)
    return meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID
