"""Users: made, listed, read, changed and deleted."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from userapi import accounts, listing
from userapi.database import Database
from userapi.dependencies import AdminDep, CallerDep, ClientDep, DatabaseDep, IfMatch, LoginDep, PasswordsDep, TargetId
from userapi.errors import INVALID, ErrorCode, Responses, responses
from userapi.models import UserCreate, UserPatch, UserPublic, UserRegister, UserUpdate
from userapi.security import Passwords

router = APIRouter(
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
registration = APIRouter(tags=["auth"], responses=responses(ErrorCode.DATABASE_UNAVAILABLE) | INVALID)

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


class Message(BaseModel):
    """That it is done."""

    message: str


@router.post("", status_code=201, response_model=UserPublic, responses=_CREATE)
async def create_user(
    new: UserCreate, _: AdminDep, database: DatabaseDep, passwords: PasswordsDep, request: Request, response: Response
) -> Any:
    """Make a user (admins only)."""
    return await _create(new, database, passwords, request, response)


@registration.post("/register", status_code=201, response_model=UserPublic, responses=_CREATE)
async def register(
    new: UserRegister, database: DatabaseDep, passwords: PasswordsDep, request: Request, response: Response
) -> Any:
    """Make an account for oneself."""
    return await _create(new, database, passwords, request, response)


@router.get("", response_model=list[UserPublic], responses=_LISTED)
async def list_users(
    query: Annotated[listing.ListQuery, Query()],
    _: AdminDep,
    database: DatabaseDep,
    request: Request,
    response: Response,
) -> Sequence[Any]:
    """List users (admins only). `Link` leads to the first, previous, next and, with `total`, last page (RFC 8288)."""
    page = await database.read(listing.find_page, query)
    response.headers["Link"] = listing.links(query, page, _path(request))
    if page.total is not None:
        response.headers["X-Total-Count"] = str(page.total)
    return page.rows


@router.get("/{user_id}", response_model=UserPublic, responses=_TAGGED | responses(ErrorCode.USER_NOT_FOUND))
async def read_user(user_id: TargetId, caller: CallerDep, database: DatabaseDep, response: Response) -> Any:
    """Read a user: oneself or, for admins, anybody."""
    user = caller.user if user_id == caller.user.id else await database.read(accounts.find, user_id)
    return _tagged(user, response)


@router.put("/{user_id}", response_model=UserPublic, responses=_CHANGE)
async def update_user(
    user_id: TargetId,
    new: UserUpdate,
    version: IfMatch,
    caller: CallerDep,
    database: DatabaseDep,
    login: LoginDep,
    client: ClientDep,
    response: Response,
) -> Any:
    """Change a user; what is absent or null stays. Only admins may change `is_admin` and `is_active`.

    Changing one's own password or e-mail address needs `current_password`. A new password ends all other sessions.
    """
    changes = new.model_dump(exclude_none=True)
    proof = await login.prove_change(caller, user_id, changes, client)
    return _tagged(await database.write(accounts.update, user_id, changes, caller, version, *proof), response)


@router.patch("/{user_id}", response_model=UserPublic, responses=_CHANGE)
async def patch_user(
    user_id: TargetId,
    new: UserPatch,
    version: IfMatch,
    caller: CallerDep,
    database: DatabaseDep,
    login: LoginDep,
    client: ClientDep,
    response: Response,
) -> Any:
    """Change a user by a JSON merge patch (RFC 7396): what is absent stays, `"age": null` clears the age.

    Else as with PUT.
    """
    changes = new.model_dump()
    proof = await login.prove_change(caller, user_id, changes, client)
    return _tagged(await database.write(accounts.update, user_id, changes, caller, version, *proof), response)


@router.delete(
    "/{user_id}", responses=responses(ErrorCode.LAST_ADMIN, ErrorCode.USER_NOT_FOUND, ErrorCode.PRECONDITION_FAILED)
)
async def delete_user(user_id: TargetId, version: IfMatch, database: DatabaseDep) -> Message:
    """Delete a user: oneself or, for admins, anybody."""
    await database.write(accounts.delete, user_id, version)
    return Message(message="User deleted successfully")


async def _create(
    new: UserRegister, database: Database, passwords: Passwords, request: Request, response: Response
) -> Any:
    accounts.refuse_guessable(new.password, new.username, new.email)
    user = await database.write(accounts.create, new, await passwords.hash(new.password))
    response.headers["Location"] = f"{_path(request)}/{user.id}"
    return _tagged(user, response)


def _path(request: Request) -> str:
    """The path of the users as the client sees it, behind a proxy that cuts a prefix off."""
    return f"{request.scope.get('root_path', '')}/users"


def _tagged(user: Any, response: Response) -> Any:
    """The user, with its version as the answer's `ETag` (RFC 9110 section 8.8.3)."""
    response.headers["ETag"] = f'"{user.version}"'
    return user
