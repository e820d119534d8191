"""A page to try the models in a browser; it asks the same routes as every client, with a key that the user types."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response

_PAGES = Path(__file__).parent / "pages"
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'"
_FILES = {"/": "playground.html", "/playground.js": "playground.js", "/playground.css": "playground.css"}
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def routes() -> APIRouter:
    """The page and its two files."""
    router = APIRouter(include_in_schema=False)
    for path, name in _FILES.items():
        content = (_PAGES / name).read_text(encoding="utf-8")
        _serve(router, path, content, _KINDS[Path(name).suffix])
    return router


def _serve(router: APIRouter, path: str, content: str, kind: str) -> None:
    @router.get(path)
    async def page() -> Response:
        headers = {"content-security-policy": _POLICY + "; form-action 'none'; frame-ancestors 'none'"}
        return Response(content, media_type=kind, headers=headers)
