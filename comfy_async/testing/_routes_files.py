"""The routes for files: upload, mask, view."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image, PngImagePlugin

from ._books import Upload
from ._core import Core

__all__ = ["FileRoutes"]


class FileRoutes:
    """Put files in, and get them out again."""

    def __init__(self, core: Core) -> None:
        """Serve from these parts."""
        self._core = core

    def table(self) -> list[web.RouteDef]:
        """Return the routes without a prefix."""
        return [
            web.post("/upload/image", self._upload_image),
            web.post("/upload/mask", self._upload_mask),
            web.get("/view", self.view),
        ]

    async def _upload_image(self, request: web.Request) -> web.Response:
        form = await request.post()
        field = form.get("image")
        if not isinstance(field, web.FileField) or not field.filename:
            return web.Response(status=400)
        return self._store(form, field.filename, field.file.read())

    async def _upload_mask(self, request: web.Request) -> web.Response:
        """Store the alpha of a mask together with the picture that it was drawn on."""
        form = await request.post()
        field = form.get("image")
        if not isinstance(field, web.FileField) or not field.filename:
            return web.Response(status=400)
        original = self._original(json.loads(str(form["original_ref"])))
        if isinstance(original, int):
            return web.Response(status=original)
        data = field.file.read()
        masked = await self._core.workshop.do(1 << 20, _masked, original, data)
        return self._store(form, field.filename, masked)

    def _original(self, reference: dict[str, Any]) -> Path | int:
        """Return the file that a mask belongs to, or the status to refuse it with."""
        name = reference["filename"]
        folder = self._core.folders.of_type(reference.get("type", "output"))
        if folder is None or not name or name.startswith("/") or ".." in name:
            return 400
        path = _inside(folder, reference.get("subfolder", ""))
        return 403 if path is None else path / name

    def _store(self, form: Any, filename: str, data: bytes) -> web.Response:
        """Write an upload: a new name for another content under a taken one, unless told to overwrite."""
        kind = form.get("type") or "input"
        subfolder = str(form.get("subfolder", ""))
        root = self._core.folders.of_type(str(kind))
        folder = None if root is None else _inside(root, os.path.normpath(subfolder))
        if folder is None or root is None or _inside(root, str(folder / filename)) is None:
            return web.Response(status=400)
        overwrite = form.get("overwrite") in ("true", "1")
        path, written = folder / filename, True
        (folder / filename).parent.mkdir(parents=True, exist_ok=True)
        stem, suffix = os.path.splitext(filename)
        number = 1
        while not overwrite and path.exists():
            if path.read_bytes() == data:
                written = False
                break
            path = folder / f"{stem} ({number}){suffix}"
            number += 1
        if written:
            path.write_bytes(data)
        name = path.relative_to(folder).as_posix()
        self._core.books.uploads.append(Upload(name, subfolder, str(kind), len(data), written))
        self._core.books.touch()
        answer: dict[str, Any] = {"name": name, "subfolder": subfolder, "type": kind}
        if self._core.assets is not None:
            asset = self._core.assets.add(path, name=os.path.basename(name), tags=[str(kind)])
            answer["asset"] = asset.record()
        return web.json_response(answer)

    async def view(self, request: web.Request) -> web.StreamResponse:
        """Serve a file as it is, or one channel of it, or a smaller preview."""
        found = self.locate(request)
        if isinstance(found, int):
            return web.Response(status=found)
        disposition = {"Content-Disposition": 'filename="{}"'.format(found.name.replace('"', '\\"'))}
        preview = request.query.get("preview")
        channel = request.query.get("channel", "rgba")
        if preview is None and channel not in ("rgb", "a"):
            return web.FileResponse(found, headers={**disposition, "X-Content-Type-Options": "nosniff"})
        size = found.stat().st_size
        data, content_type = await self._core.workshop.do(size * 8, _converted, found, preview, channel)
        return web.Response(body=data, content_type=content_type, headers=disposition)

    def locate(self, request: web.Request) -> Path | int:
        """Return the file that a query means, or the status to refuse it with."""
        name = request.query.get("filename", "")
        if name.startswith("blake3:") or "filename" not in request.query:
            return 404
        kind = request.query.get("type", "output")
        annotated = re.fullmatch(r"(.*) \[(input|output|temp)\]", name, re.DOTALL)
        if annotated:
            name, kind = annotated.groups()
        folder = self._core.folders.of_type(kind)
        if not name or name.startswith("/") or ".." in name or folder is None:
            return 400
        inside = _inside(folder, request.query.get("subfolder", ""))
        if inside is None:
            return 403
        path = inside / os.path.basename(name)
        return path if path.is_file() else 404


def _inside(root: Path, relative: str) -> Path | None:
    """Return a path under a folder, None when it leads out of it."""
    path = Path(os.path.abspath(root / relative))
    return path if path.is_relative_to(root) else None


def _masked(original: Path, mask: bytes) -> bytes:
    """Return a picture with the alpha of a mask, its text chunks kept."""
    with Image.open(original) as opened, Image.open(io.BytesIO(mask)) as drawn:
        info = PngImagePlugin.PngInfo()
        for key, value in getattr(opened, "text", {}).items():
            info.add_text(key, value)
        picture = opened.convert("RGBA")
        picture.putalpha(drawn.convert("RGBA").getchannel("A"))
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG", compress_level=4, pnginfo=info)
        return buffer.getvalue()


def _converted(path: Path, preview: str | None, channel: str) -> tuple[bytes, str]:
    """Return a file as a preview such as `webp;90`, or as one of its channels."""
    buffer = io.BytesIO()
    with Image.open(path) as opened:
        if preview is not None:
            kind, _, quality = preview.partition(";")
            if kind not in ("webp", "jpeg") or "a" in channel.replace("rgba", ""):
                kind = "webp"
            picture = opened.convert("RGB") if kind == "jpeg" or channel == "rgb" else opened
            picture.save(buffer, format=kind, quality=int(quality) if quality.isdigit() else 90)
            return buffer.getvalue(), f"image/{kind}"
        if channel == "rgb":
            opened.convert("RGB").save(buffer, format="PNG")
        else:
            alpha = Image.new("RGBA", opened.size)
            has_alpha = opened.mode == "RGBA"
            alpha.putalpha(opened.getchannel("A") if has_alpha else Image.new("L", opened.size, 255))
            alpha.save(buffer, format="PNG")
    return buffer.getvalue(), "image/png"
