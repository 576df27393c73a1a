"""Small pages for people without a front end: no scripts, nothing from elsewhere, and what they do is done by POST."""

from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ValidationError

from userapi.errors import ApiError, ErrorCode
from userapi.kit.web import edge, problems
from userapi.kit.web.dependencies import NOT_CROSS_SITE
from userapi.kit.web.forms import FormRoute

P = TypeVar("P", bound=BaseModel)

_POLICY = b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


class Field(NamedTuple):
    """A field of a form: its name, what stands beside it, what is in it; without a label it is hidden."""

    name: str
    label: str = ""
    value: str = ""
    kind: str = "text"
    autocomplete: str = "off"


LOGIN = Field("login", "Username or e-mail address", autocomplete="username")
CODE = Field("code", "Code in the mail, such as WDJB-MJHT", autocomplete="one-time-code")
PASSWORD = Field("new_password", "New password", kind="password", autocomplete="new-password")


class _PageRoute(FormRoute):
    """Takes forms, and tells by a page what went wrong."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of forms, whose errors become pages."""
        handle = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await handle(request)
            except ApiError as error:
                answer = page(request, "That did not work", f"{error}. Go back to try again.", status=error.code.status)
                answer.headers.update(problems.headers(error))
                return answer

        return shown


def router() -> APIRouter:
    """Return a router for pages, which takes forms and is in no document."""
    return APIRouter(route_class=_PageRoute, dependencies=[NOT_CROSS_SITE], include_in_schema=False)


def page(
    request: Request, title: str, *words: str, fields: tuple[Field, ...] = (), button: str = "", status: int = 200
) -> Response:
    """Return a page of some paragraphs; with a `button` there is a form, which posts to the page's own path."""
    request.scope[edge.POLICY] = _POLICY
    shown = {"title": title, "words": words, "fields": fields, "button": button, "action": request.url.path}
    return HTMLResponse(_environment.get_template("page.html").render(shown), status)


def no_longer_good(request: Request) -> Response:
    """Return the page for a link whose token is not good, or not any more."""
    return page(request, "This link is not good any more", f"{ErrorCode.INVALID_CODE.words}.", status=400)


def proof_fields(token: str) -> tuple[Field, ...]:
    """Return the fields of a proof: the link's token, or what is typed where there is none."""
    return (Field("token", value=token),) if token else (LOGIN, CODE)


async def form(request: Request, model: type[P]) -> P:
    """Return a form as a model, in which a field that was left empty is absent.

    Raises:
        ApiError: validation_error.
    """
    given: Mapping[str, Any] = await request.form()
    try:
        return model.model_validate({name: value for name, value in given.items() if value})
    except ValidationError as error:
        words = "; ".join(f"{item['loc'][0]}: {item['msg']}" if item["loc"] else item["msg"] for item in error.errors())
        raise ApiError(ErrorCode.VALIDATION_ERROR, words, loc=("body",)) from None
