"""The first thing that somebody who opens the service in a browser sees."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

router = APIRouter(include_in_schema=False)


@router.get("/")
async def root(request: Request) -> Response:
    """Lead to the documentation or, where that is off, say what this is."""
    app = request.app
    if app.openapi_url:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/docs", 307)
    return JSONResponse({"service": app.title, "summary": app.summary})
