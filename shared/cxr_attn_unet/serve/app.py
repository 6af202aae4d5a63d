"""The service: its addresses, and the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from importlib import resources
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import HTTPException
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from .. import __version__
from .answer import STEM
from .content import About, Health, Status
from .guard import Guard
from .jobs import BusyError, Job, Jobs, UnknownJobError
from .settings import NO_UPLOAD, UPLOADS, Limits, suffix_of

__all__ = ["build_app"]

LONGEST_WAIT = 60.0  # seconds that a request may wait for a result
FIELD = "file"
BLOCK = 1 << 20
PAGES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "api": ("api.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "api.js": ("api.js", "text/javascript; charset=utf-8"),
}
KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".dcm": "application/dicom"}
DESCRIPTION = """Segments lungs, heart, clavicles and ribs in frontal chest radiographs.

Send a radiograph to `POST /api/radiographs`, then ask for it by its id until its state is `done` or `failed`.
For research. Not a medical device, not for diagnosis."""
UPLOAD_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {FIELD: {"type": "string", "format": "binary", "description": "The radiograph"}},
            }
        }
    },
}
Wait = Annotated[
    float,
    Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for the result before the answer says how far it is"),
]
REFUSALS: dict[int | str, dict[str, Any]] = {
    403: {"description": "Sent by the page of another site"},
    408: {"description": "The upload took too long"},
    413: {"description": "The upload is too large"},
    415: {"description": "A kind of file that is not taken"},
    422: {"description": "No file in the form"},
    503: {"description": "Too many radiographs wait; Retry-After says when to come back"},
}


def build_app(jobs: Jobs, about: About, limits: Limits, names: Iterable[str] = ()) -> FastAPI:
    """The service.

    Args:
        jobs: its radiographs; they are segmented while the service runs.
        about: what it is.
        limits: of uploads.
        names: under which it may be asked for, see :class:`.guard.Guard`.
    """

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(jobs.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    # FastAPI's own pages load scripts from the internet
    app = FastAPI(
        title="cxr-attn-unet",
        version=__version__,
        description=DESCRIPTION,
        lifespan=running,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Guard, names=tuple(names), limits=limits)
    _add_api(app, jobs, about)
    for path in PAGES:
        app.add_api_route(f"/{path}", _page(path), methods=["GET"], include_in_schema=False)
    return app


def _add_api(app: FastAPI, jobs: Jobs, about: About) -> None:
    @app.get("/health")
    async def health() -> Health:
        """Whether the service works, and how much it has to do."""
        return Health(status="ok", waiting=jobs.waiting)

    @app.get("/api/about")
    async def what_this_is() -> About:
        """What this server segments, with which weights, and its limits."""
        return about

    @app.post(
        "/api/radiographs",
        status_code=HTTPStatus.ACCEPTED,
        responses=REFUSALS,
        openapi_extra={"requestBody": UPLOAD_BODY},
    )
    async def segment(request: Request, response: Response, wait: Wait = 0) -> Status:
        """Take a radiograph: PNG, JPEG, TIFF, DICOM, NIfTI and the like, in a form field called `file`."""
        try:
            job = jobs.reserve()
        except BusyError as error:
            # a browser whose upload is cut off does not look at the answer
            with suppress(ClientDisconnect):
                async for _ in request.stream():
                    pass
            retry = {"Retry-After": str(error.retry_seconds)}
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error), retry) from error
        try:
            await _receive(request, job)
        except BaseException:
            jobs.remove(job)
            raise
        jobs.submit(job)
        response.headers["Location"] = f"/api/radiographs/{job.id}"
        return await _status(jobs, job, wait)

    @app.get("/api/radiographs/{identity}", responses={404: {"description": "Unknown, or forgotten by now"}})
    async def status(identity: str, wait: Wait = 0) -> Status:
        """How far a radiograph is, and once it is done, what was found in it."""
        return await _status(jobs, _job(jobs, identity), wait)

    @app.get(
        "/api/radiographs/{identity}/pixels",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}, "description": "See `picture` of the result"}},
    )
    async def pixels(identity: str) -> Response:
        """The upright radiograph, for viewers: unsigned 16-bit little-endian numbers, row by row."""
        return Response(_finished(jobs, identity).pixels, media_type="application/octet-stream")

    @app.get(
        "/api/radiographs/{identity}/files/{name:path}",
        response_class=Response,
        responses={200: {"content": {kind: {} for kind in KINDS.values()}, "description": "The file"}},
    )
    async def file(identity: str, name: str) -> Response:
        """A file of a result, such as a mask or the DICOM Segmentation; the result lists their names."""
        content = _finished(jobs, identity).files.get(name)
        if content is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "the result has no such file")
        kind = KINDS.get(name[name.rfind(".") :], "application/octet-stream")
        return Response(content, media_type=kind, headers={"Content-Disposition": "attachment"})

    @app.delete("/api/radiographs/{identity}", status_code=HTTPStatus.NO_CONTENT)
    async def forget(identity: str) -> None:
        """Forget a radiograph and its result now."""
        jobs.remove(_job(jobs, identity))


def _page(path: str) -> Any:
    """An endpoint that gives a file of the page."""
    name, kind = PAGES[path]
    content = resources.files(__package__).joinpath("page", name).read_bytes()

    async def page() -> Response:
        return Response(content, media_type=kind)

    return page


def _job(jobs: Jobs, identity: str) -> Job:
    try:
        return jobs.get(identity)
    except UnknownJobError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no such radiograph, or it was forgotten by now") from error


def _finished(jobs: Jobs, identity: str) -> Job:
    job = _job(jobs, identity)
    if job.state != "done":
        raise HTTPException(HTTPStatus.CONFLICT, f"the radiograph has no result: its state is {job.state}")
    return job


async def _status(jobs: Jobs, job: Job, wait: float) -> Status:
    if wait:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(job.ended.wait(), wait)
    return jobs.status(job)


async def _receive(request: Request, job: Job) -> None:
    """Write the uploaded file into the radiograph's folder.

    Raises:
        HTTPException: there is none, it is of a kind that is not taken, or the client is gone.
    """
    try:
        form = await request.form(max_files=1, max_fields=8)
    except ClientDisconnect as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the upload was broken off") from error
    try:
        upload = form.get(FIELD)
        if not isinstance(upload, UploadFile):
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"the form has no file in a field called {FIELD}")
        suffix = suffix_of(upload.filename or "")
        if suffix in NO_UPLOAD:
            raise HTTPException(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"{suffix} files can name other files and are not taken; send one of {', '.join(UPLOADS)}, or DICOM "
                "without a suffix",
            )
        job.upload = job.folder / f"{STEM}{suffix}"
        with open(job.upload, "xb") as target:
            while block := await upload.read(BLOCK):
                target.write(block)
    finally:
        await form.close()
