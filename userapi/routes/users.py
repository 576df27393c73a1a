"""Users: made, listed, read, changed and deleted."""

from collections.abc import Sequence
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, model_validator

from userapi import accounts
from userapi.dependencies import AdminDep, CallerDep, DatabaseDep, PasswordsDep, TargetId
from userapi.errors import (
    CurrentPasswordIncorrect,
    CurrentPasswordRequired,
    DatabaseUnavailable,
    EmailTaken,
    InvalidToken,
    LastAdmin,
    NotAuthenticated,
    NotEnoughPermissions,
    Overloaded,
    UsernameTaken,
    UserNotFound,
    ValidationErrorBody,
    responses,
)
from userapi.models import UserCreate, UserPublic, UserUpdate

MAX_ROWS = 2**31 - 1

router = APIRouter(
    prefix="/users",
    tags=["users"],
    responses=responses(NotAuthenticated, InvalidToken, NotEnoughPermissions, DatabaseUnavailable)
    | {422: {"model": ValidationErrorBody}},
)


class ListQuery(BaseModel):
    """Which users to list."""

    page: int = Field(1, ge=1, description="Counted from 1; page times page_size stays below 2^31")
    page_size: int = Field(10, ge=1, le=100)
    is_active: bool | None = None

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.page * self.page_size > MAX_ROWS:
            raise ValueError("page times page_size must stay below 2^31")
        return self


class Message(BaseModel):
    """That it is done."""

    message: str


@router.post("", status_code=201, response_model=UserPublic, responses=responses(UsernameTaken, EmailTaken, Overloaded))
async def create_user(
    new: UserCreate, _: AdminDep, database: DatabaseDep, passwords: PasswordsDep, request: Request, response: Response
) -> Any:
    """Make a user (admins only)."""
    user = await database.write(accounts.create, new, await passwords.hash(new.password))
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/users/{user.id}"
    return user


@router.get("", response_model=list[UserPublic])
async def list_users(query: Annotated[ListQuery, Query()], _: AdminDep, database: DatabaseDep) -> Sequence[Any]:
    """List users in the order of their ids (admins only)."""
    return await database.read(accounts.find_page, query.page, query.page_size, query.is_active)


@router.get("/{user_id}", response_model=UserPublic, responses=responses(UserNotFound))
async def read_user(user_id: TargetId, caller: CallerDep, database: DatabaseDep) -> Any:
    """Read a user: oneself or, for admins, anybody."""
    return caller.user if user_id == caller.user.id else await database.read(accounts.find, user_id)


@router.put(
    "/{user_id}",
    response_model=UserPublic,
    responses=responses(
        UsernameTaken,
        EmailTaken,
        CurrentPasswordRequired,
        CurrentPasswordIncorrect,
        LastAdmin,
        UserNotFound,
        Overloaded,
    ),
)
async def update_user(
    user_id: TargetId, changes: UserUpdate, caller: CallerDep, database: DatabaseDep, passwords: PasswordsDep
) -> Any:
    """Change a user; what is absent or null stays. Only admins may change `is_admin` and `is_active`.

    Changing one's own password or e-mail address needs `current_password`. A new password ends all other sessions.
    """
    verified_hash = new_hash = None
    if user_id == caller.user.id and accounts.needs_current_password(caller, changes):
        if changes.current_password is None:
            raise CurrentPasswordRequired
        verified_hash = await database.read(accounts.hash_of, user_id)
        if not await passwords.verify(changes.current_password, verified_hash):
            raise CurrentPasswordIncorrect
    if changes.password is not None:
        new_hash = await passwords.hash(changes.password)
    return await database.write(accounts.update, user_id, changes, caller, verified_hash, new_hash)


@router.delete("/{user_id}", responses=responses(LastAdmin, UserNotFound))
async def delete_user(user_id: TargetId, database: DatabaseDep) -> Message:
    """Delete a user: oneself or, for admins, anybody."""
    await database.write(accounts.delete, user_id)
    return Message(message="User deleted successfully")
