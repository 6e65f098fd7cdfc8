# SPDX-License-Identifier: Apache-2.0
"""The built front end: `/assets/…`, hashed by content and kept by browsers for ever; `/embed.js`, kept for minutes.

It is built by `make assets` into `holdfirst/web/built` and travels in the wheel. A server without it says so where a
page is asked for; its API needs none of it.
"""

from functools import cache
from importlib import resources
from pathlib import PurePosixPath

import msgspec

from holdfirst import __version__
from holdfirst.refusal import Code
from holdfirst.web.operation import PUBLIC, Answer, Call, Operation
from holdfirst.web.problems import refuse

NOT_BUILT = "This server was installed without its web pages; `make assets` builds them. Its API works."
KINDS = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
LOADER = "embed.js"
FOR_EVER = "public, max-age=31536000, immutable"
FOR_MINUTES = "public, max-age=300"


class Chunk(msgspec.Struct, frozen=True):
    """One entry of Vite's manifest: the built file, what it imports at once, and its style."""

    file: str
    css: list[str] = []
    imports: list[str] = []


class Asset(msgspec.Struct, frozen=True):
    """One file, and the same compressed where that was worth it (by content coding)."""

    plain: bytes
    packed: dict[str, bytes]
    media_type: str


class BuiltAssets(msgspec.Struct, frozen=True):
    """What the build left; empty where nothing was built."""

    chunks: dict[str, Chunk]
    files: dict[str, Asset]

    def scripts(self, entry: str) -> list[str]:
        """The entry's file, then whatever it imports at once, so that a browser can fetch all of it together."""
        chunk = self.chunks[entry]
        return list(
            dict.fromkeys([chunk.file, *(one for name in chunk.imports for one in self.scripts(name))])
        )

    def styles(self, entry: str) -> list[str]:
        chunk = self.chunks[entry]
        return list(
            dict.fromkeys([*(one for name in chunk.imports for one in self.styles(name)), *chunk.css])
        )


@cache
def built_assets() -> BuiltAssets:
    """Read once; everything is small, and a path from outside is never joined to one of ours."""
    folder = resources.files("holdfirst.web") / "built"
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return BuiltAssets({}, {})
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    files = {
        name: Asset(content, _packed(found, name), KINDS[PurePosixPath(name).suffix])
        for name, content in found.items()
        if PurePosixPath(name).suffix in KINDS and name not in ("manifest.json", "built.json")
    }
    return BuiltAssets(msgspec.json.decode(manifest.read_bytes(), type=dict[str, Chunk]), files)


def _packed(found: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {coding: found[f"{name}.{coding}"] for coding in ("br", "gz") if f"{name}.{coding}" in found}


async def get_asset(call: Call) -> Answer:
    return _told(call, call.path["name"], FOR_EVER)


async def get_loader(call: Call) -> Answer:
    return _told(call, LOADER, FOR_MINUTES)


async def get_versioned_loader(call: Call) -> Answer:
    """For pages that pin it by its digest (`integrity`)."""
    if call.path["name"] != f"{__version__}.js":
        raise refuse(Code.NOT_FOUND, f"This server has version {__version__}.")
    return _told(call, LOADER, FOR_EVER)


def _told(call: Call, name: str, kept: str) -> Answer:
    asset = built_assets().files.get(name)
    if asset is None:
        raise refuse(Code.NOT_FOUND, NOT_BUILT if not built_assets().files else "There is no such file.")
    headers = {
        "cache-control": kept,
        "vary": "Accept-Encoding",
        "cross-origin-resource-policy": "cross-origin",
    }
    accepted = call.incoming.headers.get("accept-encoding", "")
    for coding, token in (("br", "br"), ("gz", "gzip")):
        if coding in asset.packed and _accepts(accepted, token):
            return Answer(
                asset.packed[coding],
                headers={**headers, "content-encoding": token},
                media_type=asset.media_type,
            )
    return Answer(asset.plain, headers=headers, media_type=asset.media_type)


def _accepts(header: str, coding: str) -> bool:
    """RFC 9110: named, and not with a weight of nothing."""
    for part in header.split(","):
        name, _, weight = part.partition(";")
        if name.strip().lower() == coding:
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


OPERATIONS: list[Operation] = [
    Operation(
        method="GET",
        path="/assets/{name:str}",
        summary="A file of the front end",
        who=PUBLIC,
        endpoint=get_asset,
        any_query=True,
        refusals=(Code.NOT_FOUND,),
    ),
    Operation(
        method="GET",
        path="/embed.js",
        summary="The script that puts a booking page into any other page",
        who=PUBLIC,
        endpoint=get_loader,
        any_query=True,
        refusals=(Code.NOT_FOUND,),
    ),
    Operation(
        method="GET",
        path="/embed/{name:str}",
        summary="The same script, of one version",
        who=PUBLIC,
        endpoint=get_versioned_loader,
        any_query=True,
        refusals=(Code.NOT_FOUND,),
    ),
]
