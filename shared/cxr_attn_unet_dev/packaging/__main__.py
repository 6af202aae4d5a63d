"""Share bundles: build their zips, check them by the model zoo's rules, build an index, push one to the hub."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cxr_attn_unet.bundle import cause_of

from .hub import push
from .index import build_index
from .package import package_bundle, record_release, unpack, write_unit_test
from .rules import check


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.packaging",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Examples:\n"
        "  python -m cxr_attn_unet_dev.packaging package bundles/* --output dist\n"
        "  python -m cxr_attn_unet_dev.packaging check dist/*.zip\n"
        "  python -m cxr_attn_unet_dev.packaging release dist/*.zip\n"
        "  python -m cxr_attn_unet_dev.packaging index dist/*.zip --output dist/zoo --base-url https://example.org/zoo\n"
        "  python -m cxr_attn_unet_dev.packaging push dist/heart_attn_unet_v0.2.0.zip --repo me/heart --dry-run",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    package = commands.add_parser("package", help="build the zip of each bundle, and its test for the model zoo")
    package.add_argument("bundles", nargs="+", type=Path, help="bundles' folders")
    package.add_argument("--output", type=Path, default=Path("dist"), help="folder for the zips (default: dist)")
    package.add_argument("--url", help="where files above 25 MB will lie")
    rules = commands.add_parser("check", help="name the model zoo's rules that a bundle breaks")
    rules.add_argument("zips", nargs="+", type=Path)
    rules.add_argument("--published", type=Path, help="model_info.json of the zoo, whose versions are taken")
    release = commands.add_parser("release", help="write down the zips that are released, so that they are trusted")
    release.add_argument("zips", nargs="+", type=Path)
    index = commands.add_parser("index", help="build a static page of all bundles, with model_info.json")
    index.add_argument("zips", nargs="+", type=Path)
    index.add_argument("--output", type=Path, default=Path("dist/zoo"), help="folder to serve (default: dist/zoo)")
    index.add_argument("--base-url", default=".", help="where it will be served")
    hub = commands.add_parser("push", help="upload a bundle to the Hugging Face hub; the token is read from HF_TOKEN")
    hub.add_argument("zip", type=Path)
    hub.add_argument("--repo", required=True, help="OWNER/NAME")
    hub.add_argument("--public", action="store_true", help="make a new repository public")
    hub.add_argument("--dry-run", action="store_true", help="only list what would be sent")
    options = parser.parse_args(arguments)
    failed = []

    def each(paths: Sequence[Path], work) -> None:
        for path in paths:
            try:
                work(path)
            except (OSError, ValueError, RuntimeError, ImportError) as error:
                failed.append(f"{path}: {cause_of(error)}")

    if options.command == "package":

        def ship(path: Path) -> None:
            print(package_bundle(path, options.output, options.url))
            write_unit_test(path, options.output)

        each(options.bundles, ship)
    elif options.command == "check":
        published = json.loads(options.published.read_text(encoding="utf-8")) if options.published else {}

        def rule(path: Path) -> None:
            with tempfile.TemporaryDirectory() as folder:
                broken = check(unpack(path, Path(folder)), published)
            failed.extend(f"{path.name}: {one}" for one in broken)
            verdict = f"{len(broken)} rules broken" if broken else "keeps all rules"
            print(f"{path.name}: {verdict}")

        each(options.zips, rule)
    elif options.command == "release":
        each(options.zips, lambda path: print(f"{record_release(path)}: trusted from now on"))
    elif options.command == "index":
        each([options.output], lambda output: print(build_index(options.zips, output, options.base_url)))
    else:
        each(
            [options.zip], lambda path: print("\n".join(push(path, options.repo, options.dry_run, not options.public)))
        )
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
