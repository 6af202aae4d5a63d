"""A model zoo of one's own: zips, ``model_info.json`` with their checksums, and a static page to look through."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from cxr_attn_unet.files import write_json, written
from cxr_attn_unet.networks.checkpoint import sha256

from .package import unpack

__all__ = ["build_index", "card_as_html", "metadata_of"]

PICTURES = (".png", ".jpg", ".jpeg")


def metadata_of(folder: Path) -> dict[str, Any]:
    """The metadata of an unpacked bundle."""
    return json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))


def card_as_html(text: str) -> str:
    """A card of Markdown, with its links to other files of the bundle as plain text, for those are in the zip."""
    try:
        import markdown
    except ImportError as error:
        raise ImportError("the index needs Markdown: pip install cxr-attn-unet[zoo]") from error
    body = markdown.markdown(text, extensions=["tables", "fenced_code"])
    return re.sub(r'<a href="(?!https?:|#)[^"]*">(.*?)</a>', r"\1", body)


def build_index(zips: Sequence[Path], output: Path, base_url: str = ".") -> Path:
    """Write a folder that can be served as it is: zips, ``model_info.json``, ``index.html`` and a page a bundle.

    Args:
        zips: of :func:`~cxr_attn_unet_dev.packaging.package_bundle`; several versions of a bundle may be among them.
        output: the folder; what other bundles it has, stays.
        base_url: where it will be served, such as ``https://example.org/zoo``; the sources in ``model_info.json``.

    Returns:
        ``index.html``.

    Raises:
        ValueError: a zip is damaged or no bundle.
    """
    output.mkdir(parents=True, exist_ok=True)
    information = output / "model_info.json"
    known = json.loads(information.read_text(encoding="utf-8")) if information.is_file() else {}
    for archive in zips:
        with tempfile.TemporaryDirectory() as temporary:
            folder = unpack(archive, Path(temporary))
            about = metadata_of(folder)
            full_name = f"{folder.name}_v{about['version']}"
            target = output / f"{full_name}.zip"
            if archive.resolve() != target.resolve():
                with written(target) as path:
                    shutil.copyfile(archive, path)
            pictures = sorted(path for path in (folder / "docs").iterdir() if path.suffix.lower() in PICTURES)
            place = output / full_name
            place.mkdir(exist_ok=True)
            for picture in pictures:
                with written(place / picture.name) as path:
                    shutil.copyfile(picture, path)
            card = card_as_html((folder / "docs" / "README.md").read_text(encoding="utf-8"))
            _write(place / "index.html", about["name"], f'<p><a href="..">All bundles</a></p>\n{card}')
            known[full_name] = {
                # SHA-1 is what MONAI's own index has
                "checksum": hashlib.sha1(target.read_bytes()).hexdigest(),
                "sha256": sha256(target),
                "source": f"{base_url.rstrip('/')}/{target.name}",
                "bytes": target.stat().st_size,
                "name": about["name"],
                "description": about["description"],
                "eval_metrics": about.get("eval_metrics", {}),
                "picture": next((picture.name for picture in pictures if picture.stem == "cases"), None),
            }
    write_json(information, known, sort_keys=True)
    entries = "\n".join(_entry(full_name, entry) for full_name, entry in sorted(known.items()))
    return _write(output / "index.html", "Bundles for chest radiographs", entries)


def _entry(full_name: str, entry: dict[str, Any]) -> str:
    name = full_name.rsplit("_v", 1)[0]
    picture = ""
    if entry["picture"]:
        picture = (
            f'<img src="{full_name}/{entry["picture"]}" alt="cases of {html.escape(entry["name"])}">'
            "<p><small>The five worst and the median of the rendered examples; the card says more.</small></p>"
        )
    rows = "".join(
        f"<tr><td>{html.escape(key.replace('_', ' '))}</td><td>{value}</td></tr>"
        for key, value in entry["eval_metrics"].items()
    )
    return f"""<section>
<h2><a href="{full_name}/index.html">{html.escape(entry["name"])}</a></h2>
<p>{html.escape(entry["description"])}</p>
{picture}
<table>{rows}</table>
<pre>python -m monai.bundle download --name {name} --bundle_dir bundles \\
    --url {html.escape(entry["source"])}</pre>
<p><a href="{full_name}.zip">{full_name}.zip</a>, {entry["bytes"] / 2**20:.1f} MB,
SHA-256 <code>{entry["sha256"]}</code></p>
</section>"""


def _write(target: Path, title: str, body: str) -> Path:
    page = Template((resources.files(__package__) / "page.html").read_text(encoding="utf-8"))
    with written(target) as path:
        path.write_text(page.substitute(title=html.escape(title), body=body), encoding="utf-8")
    return target
