"""Users: made, listed, read, changed and deleted."""

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from userapi.errors import ErrorCode
from userapi.kit.web import edge, openapi
from userapi.kit.web.dependencies import DatabaseDep, path_of
from userapi.kit.web.links import links
from userapi.listing import ListQuery, find_page, kept, places
from userapi.models import UserCreate, UserListed, UserPatch, UserPublic, UserUpdate
from userapi.sessions.caller import AdminDep, CallerDep, TargetDep
from userapi.users import answers, rules
from userapi.users.dependencies import IF_MATCH, IF_MATCH_RAISES, WriterDep, if_match

router = openapi.router(prefix="/users", tags=["users"])

_TAGGED: openapi.Responses = {200: {"headers": answers.ETAG}}
_LISTED: openapi.Responses = {
    200: {
        "headers": openapi.LINK
        | {
            "X-Total-Count": {"description": "With `total`", "schema": {"type": "integer"}},
        }
    }
}
CREATED: openapi.Responses = {201: {"headers": answers.ETAG | answers.LOCATION}}
_CHANGE_RAISES = openapi.raises(
    *IF_MATCH_RAISES,
    ErrorCode.USERNAME_TAKEN,
    ErrorCode.EMAIL_TAKEN,
    ErrorCode.CURRENT_PASSWORD_REQUIRED,
    ErrorCode.CURRENT_PASSWORD_INCORRECT,
    ErrorCode.LAST_ADMIN,
    ErrorCode.RECENT_LOGIN_REQUIRED,
    ErrorCode.USER_NOT_FOUND,
    ErrorCode.TOO_MANY_ATTEMPTS,
)
_LIST_PARAMETERS = [
    {"name": name, "in": "query", "required": False, "schema": schema, "description": schema.pop("description", "")}
    for name, schema in ListQuery.model_json_schema()["properties"].items()
]


class Message(BaseModel):
    """That it is done."""

    message: str


@router.post("", status_code=201, response_model=UserPublic, responses=CREATED)
@openapi.raises(ErrorCode.USERNAME_TAKEN, ErrorCode.EMAIL_TAKEN, ErrorCode.RECENT_LOGIN_REQUIRED)
async def create_user(new: UserCreate, admin: AdminDep, writer: WriterDep, request: Request) -> Response:
    """Make a user (admins only), with a password or, with `send_invitation`, without. An admin needs a recent login."""
    if new.is_admin:
        admin.require_recent_login()
    if bool(new.password) == bool(new.send_invitation):
        wrong = ("password_unwanted", "Not together with send_invitation")
        kind, words = wrong if new.password else ("missing", "Field required, or send_invitation")
        raise RequestValidationError([{"type": kind, "loc": ("body", "password"), "msg": words}])
    return answers.created(await writer.create(new, admin), request)


@router.get("", response_model=list[UserListed], responses=_LISTED, openapi_extra={"parameters": _LIST_PARAMETERS})
async def list_users(_: AdminDep, database: DatabaseDep, request: Request) -> Response:
    """List users (admins only). `Link` leads to the first, previous, next and, with `total`, last page (RFC 8288)."""
    query = _list_query(request)
    read = database.read_long if query.may_be_long else database.read_shared
    page = await read(find_page, query)
    headers = {"Link": links(path_of(request), kept(query), places(query, page))}
    if page.total is not None:
        headers["X-Total-Count"] = str(page.total)
    return answers.several(page.users, headers)


@router.get("/me", include_in_schema=False)
async def read_oneself(caller: CallerDep, request: Request) -> Response:
    """Read oneself. `/{user_id}` would do it, but to check a path costs 45 us, a fifth of that request."""
    request.scope[edge.TARGET_ID] = caller.user.id
    return answers.one(caller.user)


@router.get("/{user_id}", response_model=UserPublic, responses=_TAGGED)
@openapi.raises(ErrorCode.USER_NOT_FOUND)
async def read_user(target: TargetDep, database: DatabaseDep) -> Response:
    """Read a user: oneself or, for admins, anybody."""
    return answers.one(target.caller.user if target.own else await database.read(rules.find, target.user_id))


@router.put("/{user_id}", response_model=UserPublic, responses=_TAGGED, openapi_extra=IF_MATCH)
@_CHANGE_RAISES
async def update_user(target: TargetDep, new: UserUpdate, writer: WriterDep, request: Request) -> Response:
    """Change a user; what is absent or null stays. Only admins may change `is_admin` and `is_active`.

    Changing one's own password or e-mail address needs `current_password`. A new password ends all other sessions.
    Changing one's own username and, for admins, another's password or e-mail address or who is an admin needs a recent
    login.
    """
    return answers.one(await writer.change(target, new.model_dump(exclude_none=True), if_match(request)))


@router.patch("/{user_id}", response_model=UserPublic, responses=_TAGGED, openapi_extra=IF_MATCH)
@_CHANGE_RAISES
async def patch_user(target: TargetDep, new: UserPatch, writer: WriterDep, request: Request) -> Response:
    """Change a user by a JSON merge patch (RFC 7396): what is absent stays, `"age": null` clears the age.

    Else as with PUT.
    """
    return answers.one(await writer.change(target, new.model_dump(), if_match(request)))


@router.delete("/{user_id}", openapi_extra=IF_MATCH)
@openapi.raises(*IF_MATCH_RAISES, ErrorCode.LAST_ADMIN, ErrorCode.RECENT_LOGIN_REQUIRED, ErrorCode.USER_NOT_FOUND)
async def delete_user(target: TargetDep, database: DatabaseDep, request: Request) -> Message:
    """Delete a user: oneself or, for admins, anybody. It needs a recent login."""
    await database.write(rules.delete, target.user_id, target.caller, if_match(request))
    return Message(message="User deleted successfully")


def _list_query(request: Request) -> ListQuery:
    """Read the query by hand: FastAPI takes 150 us for a model of it, two fifths of a list of 10; this takes 15."""
    try:
        return ListQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestValidationError([{**item, "loc": ("query", *item["loc"])} for item in error.errors()]) from None
