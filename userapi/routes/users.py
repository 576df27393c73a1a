"""Users: made, listed, read, changed and deleted."""

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from userapi import accounts, finding, listing, routes
from userapi.columns import PUBLIC_FIELDS
from userapi.database import Database
from userapi.dependencies import AdminDep, CallerDep, ClientDep, DatabaseDep, IfMatch, LoginDep, PasswordsDep, TargetDep
from userapi.errors import INVALID, ErrorCode, Responses, responses
from userapi.listing import ListQuery
from userapi.models import UserCreate, UserPatch, UserPublic, UserRegister, UserUpdate
from userapi.security import Passwords

router = routes.router(
    prefix="/users",
    tags=["users"],
    responses=responses(
        ErrorCode.NOT_AUTHENTICATED,
        ErrorCode.INVALID_TOKEN,
        ErrorCode.NOT_ENOUGH_PERMISSIONS,
        ErrorCode.DATABASE_UNAVAILABLE,
    )
    | INVALID,
)
registration = routes.router(tags=["auth"], responses=responses(ErrorCode.DATABASE_UNAVAILABLE) | INVALID)

_TEXT = {"required": True, "schema": {"type": "string"}}
_ETAG = {"ETag": _TEXT | {"description": "The user's version, for `If-Match`"}}
_TAGGED: Responses = {200: {"headers": _ETAG}}
_LISTED: Responses = {
    200: {
        "headers": {
            "Link": _TEXT | {"description": "The pages around this one"},
            "X-Total-Count": {"description": "With `total`", "schema": {"type": "integer"}},
        }
    }
}
_CREATED: Responses = {201: {"headers": _ETAG | {"Location": _TEXT | {"description": "The user's path"}}}}
_CREATE = _CREATED | responses(ErrorCode.USERNAME_TAKEN, ErrorCode.EMAIL_TAKEN, ErrorCode.OVERLOADED)
_CHANGE = _TAGGED | responses(
    ErrorCode.USERNAME_TAKEN,
    ErrorCode.EMAIL_TAKEN,
    ErrorCode.CURRENT_PASSWORD_REQUIRED,
    ErrorCode.CURRENT_PASSWORD_INCORRECT,
    ErrorCode.LAST_ADMIN,
    ErrorCode.USER_NOT_FOUND,
    ErrorCode.PRECONDITION_FAILED,
    ErrorCode.TOO_MANY_ATTEMPTS,
    ErrorCode.OVERLOADED,
)

_LIST_PARAMETERS = [
    {"name": name, "in": "query", "required": False, "schema": schema, "description": schema.pop("description", "")}
    for name, schema in ListQuery.model_json_schema()["properties"].items()
]


class Message(BaseModel):
    """That it is done."""

    message: str


@router.post("", status_code=201, response_model=UserPublic, responses=_CREATE)
async def create_user(
    new: UserCreate, _: AdminDep, database: DatabaseDep, passwords: PasswordsDep, request: Request
) -> Response:
    """Make a user (admins only)."""
    return await _create(new, database, passwords, request)


@registration.post("/register", status_code=201, response_model=UserPublic, responses=_CREATE)
async def register(new: UserRegister, database: DatabaseDep, passwords: PasswordsDep, request: Request) -> Response:
    """Make an account for oneself."""
    return await _create(new, database, passwords, request)


@router.get("", response_model=list[UserPublic], responses=_LISTED, openapi_extra={"parameters": _LIST_PARAMETERS})
async def list_users(_: AdminDep, request: Request) -> Response:
    """List users (admins only). `Link` leads to the first, previous, next and, with `total`, last page (RFC 8288)."""
    query, database = _list_query(request), request.app.state.database  # not asked for: each dependency costs 10 us
    page = await database.read(finding.find_page, query)
    headers = {"Link": listing.links(query, page, _path(request))}
    if page.total is not None:
        headers["X-Total-Count"] = str(page.total)
    return Response(page.users, 200, headers, "application/json")


@router.get("/me", include_in_schema=False)
async def read_oneself(caller: CallerDep) -> Response:
    """As `/{user_id}`, which it stands for in the document, without a path to check: 80 us less."""
    return _user(caller.user)


@router.get("/{user_id}", response_model=UserPublic, responses=_TAGGED | responses(ErrorCode.USER_NOT_FOUND))
async def read_user(target: TargetDep, database: DatabaseDep) -> Response:
    """Read a user: oneself or, for admins, anybody."""
    return _user(target.caller.user if target.own else await database.read(accounts.find, target.user_id))


@router.put("/{user_id}", response_model=UserPublic, responses=_CHANGE)
async def update_user(
    target: TargetDep, new: UserUpdate, version: IfMatch, database: DatabaseDep, login: LoginDep, client: ClientDep
) -> Response:
    """Change a user; what is absent or null stays. Only admins may change `is_admin` and `is_active`.

    Changing one's own password or e-mail address needs `current_password`. A new password ends all other sessions.
    """
    changes = new.model_dump(exclude_none=True)
    proof = await login.prove_change(target.caller, target.user_id, changes, client)
    return _user(await database.write(accounts.update, target.user_id, changes, target.caller, version, *proof))


@router.patch("/{user_id}", response_model=UserPublic, responses=_CHANGE)
async def patch_user(
    target: TargetDep, new: UserPatch, version: IfMatch, database: DatabaseDep, login: LoginDep, client: ClientDep
) -> Response:
    """Change a user by a JSON merge patch (RFC 7396): what is absent stays, `"age": null` clears the age.

    Else as with PUT.
    """
    changes = new.model_dump()
    proof = await login.prove_change(target.caller, target.user_id, changes, client)
    return _user(await database.write(accounts.update, target.user_id, changes, target.caller, version, *proof))


@router.delete(
    "/{user_id}", responses=responses(ErrorCode.LAST_ADMIN, ErrorCode.USER_NOT_FOUND, ErrorCode.PRECONDITION_FAILED)
)
async def delete_user(target: TargetDep, version: IfMatch, database: DatabaseDep) -> Message:
    """Delete a user: oneself or, for admins, anybody."""
    await database.write(accounts.delete, target.user_id, version)
    return Message(message="User deleted successfully")


async def _create(new: UserRegister, database: Database, passwords: Passwords, request: Request) -> Response:
    accounts.refuse_guessable(new.password, new.username, new.email)
    user = await database.write(accounts.create, new, await passwords.hash(new.password))
    return _user(user, 201, {"Location": f"{_path(request)}/{user.id}"})


def _list_query(request: Request) -> ListQuery:
    """FastAPI would read a model from the query in 150 us, against 15."""
    try:
        return ListQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestValidationError([{**item, "loc": ("query", *item["loc"])} for item in error.errors()]) from None


def _path(request: Request) -> str:
    """The path of the users as the client sees it, behind a proxy that cuts a prefix off."""
    return f"{request.scope.get('root_path', '')}/users"


def _user(user: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with the public fields of a user, and its version as `ETag` (RFC 9110 section 8.8.3)."""
    fields = {name: getattr(user, name) for name in PUBLIC_FIELDS}
    return Response(to_json(fields), status, {"ETag": f'"{user.version}"', **(headers or {})}, "application/json")
