"""The documentation's pages: Swagger UI and ReDoc, from files of ours, with no scripts but their own."""

import re
import secrets

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from userapi.kit.web.edge import POLICY

_FILES = "/static-offline-docs"
# Both make their styles in the page, and Swagger UI has its icons in them; neither needs that for scripts.
_ONLY_OURS = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# The button Authorize stays in sight; its dialog fits small windows, and asks for nothing that nobody fills in here.
_STYLE = """
.swagger-ui .scheme-container { position: sticky; top: 0; z-index: 2; padding: 8px 0; }
.swagger-ui .dialog-ux .modal-ux-content { max-height: calc(100vh - 90px); padding: 8px 20px; }
.swagger-ui .dialog-ux :is(.scope-def, .wrapper:has(> :is([for=password_type], [for^=client_]))) { display: none; }
.swagger-ui .dialog-ux .auth-container + .auth-container:has(#auth-basic-username) { display: none; }
.swagger-ui .dialog-ux h4 { margin: 0; }
"""


def install(app: FastAPI) -> None:
    """Add the pages at `/docs` and `/redoc`."""
    app.mount(_FILES, StaticFiles(packages=[("fastapi_offline", "static")]))
    app.add_api_route("/docs", _docs, include_in_schema=False)
    app.add_api_route("/redoc", _redoc, include_in_schema=False)


async def _docs(request: Request) -> Response:
    root = request.scope.get("root_path", "")
    page = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title=f"{request.app.title} - Swagger UI",
        swagger_js_url=f"{root}{_FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{_FILES}/swagger-ui.css",
        swagger_favicon_url=f"{root}{_FILES}/favicon.png",
        swagger_ui_parameters={"persistAuthorization": True},  # in the browser's local storage, over a reload
    )
    return _with_policy(request, page, ("</head>", f"<style>{_STYLE}</style></head>"))


async def _redoc(request: Request) -> Response:
    root = request.scope.get("root_path", "")
    page = get_redoc_html(
        openapi_url=f"{root}/openapi.json",
        title=f"{request.app.title} - ReDoc",
        redoc_js_url=f"{root}{_FILES}/redoc.standalone.js",
        redoc_favicon_url=f"{root}{_FILES}/favicon.png",
        with_google_fonts=False,
    )
    # ReDoc searches in a worker that it makes of a blob, which the policy does not let it; browsers search, too.
    return _with_policy(request, page, ("<redoc ", "<redoc disable-search "))


def _with_policy(request: Request, page: HTMLResponse, *changes: tuple[str, str]) -> Response:
    """Let those scripts run that the page has now, and none that somebody brings into it."""
    nonce = secrets.token_urlsafe(16)
    request.scope[POLICY] = _ONLY_OURS.format(nonce=nonce).encode()
    html = bytes(page.body).decode()
    for before, after in changes:
        html = html.replace(before, after)
    return HTMLResponse(re.sub("<script(?=[ >])", f'<script nonce="{nonce}"', html))
