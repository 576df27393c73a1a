"""The least FastAPI can do: a route that answers a constant of the same shape as the service's users."""

from datetime import UTC, datetime

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class User(BaseModel):
    id: int
    username: str
    email: str
    age: int | None
    is_admin: bool
    is_active: bool
    created_at: datetime
    updated_at: datetime | None


_MOMENT = datetime(2024, 5, 17, 9, 30, 0, 123456, UTC)
_USER = User(
    id=123456,
    username="user123456",
    email="user123456@example.com",
    age=42,
    is_admin=False,
    is_active=True,
    created_at=_MOMENT,
    updated_at=None,
)
_LISTS = {size: [_USER] * size for size in (10, 100)}


@app.get("/user")
async def one() -> User:
    return _USER


@app.get("/users/{size}")
async def many(size: int) -> list[User]:
    return _LISTS[size]
