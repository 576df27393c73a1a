"""The service as the tutorials write it: asynchronous routes over a synchronous session, one a request.

The alternative that users of such a tutorial have; written plainly, without its known slips on the measured paths.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

import bcrypt
import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from pydantic import BaseModel, ConfigDict, EmailStr
from sqlalchemy import DateTime, Integer, String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

URL = os.environ.get("TUTORIAL_DATABASE_URL", "sqlite://")
SECRET_KEY = os.environ.get("SECRET_KEY", "")
ALGORITHM = "HS256"
ROUNDS = int(os.environ.get("BCRYPT_ROUNDS", "12"))
LIFETIME = timedelta(minutes=int(os.environ.get("ACCESS_TOKEN_EXPIRE_MINUTES", "30")))

engine = create_engine(URL, connect_args={"check_same_thread": False} if URL.startswith("sqlite") else {})
SessionLocal = sessionmaker(engine, autoflush=False)
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")
app = FastAPI()


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "tutorial_users"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    username: Mapped[str] = mapped_column(String(20), unique=True, index=True)
    email: Mapped[str] = mapped_column(String(254), unique=True, index=True)
    hashed_password: Mapped[str] = mapped_column(String(100))
    age: Mapped[int | None]
    is_admin: Mapped[bool] = mapped_column(default=False)
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    updated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), onupdate=lambda: datetime.now(UTC))


class UserCreate(BaseModel):
    username: str
    email: EmailStr
    password: str
    age: int | None = None
    is_admin: bool = False


class UserUpdate(BaseModel):
    username: str | None = None
    email: EmailStr | None = None
    password: str | None = None
    age: int | None = None
    is_admin: bool | None = None
    is_active: bool | None = None


class UserOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    username: str
    email: str
    age: int | None
    is_admin: bool
    is_active: bool
    created_at: datetime
    updated_at: datetime | None


def get_db() -> Iterator[Session]:
    db = SessionLocal()
    try:
        yield db
    finally:
        db.close()


Db = Annotated[Session, Depends(get_db)]


async def get_current_user(token: Annotated[str, Depends(oauth2_scheme)], db: Db) -> User:
    refused = HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"})
    try:
        username = jwt.decode(token, SECRET_KEY, [ALGORITHM])["sub"]
    except (jwt.InvalidTokenError, KeyError):
        raise refused from None
    user = db.query(User).filter(User.username == username).first()
    if user is None:
        raise refused
    return user


async def get_current_active_user(current: Annotated[User, Depends(get_current_user)]) -> User:
    if not current.is_active:
        raise HTTPException(400, "Inactive user")
    return current


Current = Annotated[User, Depends(get_current_active_user)]


async def get_current_admin(current: Current) -> User:
    if not current.is_admin:
        raise HTTPException(403, "Not enough permissions")
    return current


Admin = Annotated[User, Depends(get_current_admin)]


@app.post("/token")
async def login(form: Annotated[OAuth2PasswordRequestForm, Depends()], db: Db) -> dict[str, str]:
    user = db.query(User).filter(User.username == form.username).first()
    if user is None or not bcrypt.checkpw(form.password.encode(), user.hashed_password.encode()):
        raise HTTPException(401, "Incorrect username or password", {"WWW-Authenticate": "Bearer"})
    claims = {"sub": user.username, "exp": datetime.now(UTC) + LIFETIME}
    return {"access_token": jwt.encode(claims, SECRET_KEY, ALGORITHM), "token_type": "bearer"}


@app.post("/users", response_model=UserOut)
async def create_user(new: UserCreate, db: Db, _: Admin) -> User:
    if db.query(User).filter(User.username == new.username).first():
        raise HTTPException(400, "Username already registered")
    if db.query(User).filter(User.email == new.email).first():
        raise HTTPException(400, "Email already registered")
    hashed = bcrypt.hashpw(new.password.encode(), bcrypt.gensalt(ROUNDS)).decode()
    user = User(**new.model_dump(exclude={"password"}), hashed_password=hashed)
    db.add(user)
    db.commit()
    db.refresh(user)
    return user


@app.get("/users", response_model=list[UserOut])
async def read_users(db: Db, _: Admin, page: int = 1, page_size: int = 10) -> list[User]:
    return db.query(User).order_by(User.id).offset((page - 1) * page_size).limit(page_size).all()


@app.get("/users/me", response_model=UserOut)
async def read_me(current: Current) -> User:
    return current


@app.get("/users/{user_id}", response_model=UserOut)
async def read_user(user_id: int, db: Db, current: Current) -> User:
    user = db.query(User).filter(User.id == user_id).first()
    if user is None:
        raise HTTPException(404, "User not found")
    if current.id != user_id and not current.is_admin:
        raise HTTPException(403, "Not enough permissions")
    return user


@app.put("/users/{user_id}", response_model=UserOut)
async def update_user(user_id: int, changes: UserUpdate, db: Db, current: Current) -> User:
    user = db.query(User).filter(User.id == user_id).first()
    if user is None:
        raise HTTPException(404, "User not found")
    if current.id != user_id and not current.is_admin:
        raise HTTPException(403, "Not enough permissions")
    values = changes.model_dump(exclude_unset=True, exclude_none=True)
    if "password" in values:
        values["hashed_password"] = bcrypt.hashpw(values.pop("password").encode(), bcrypt.gensalt(ROUNDS)).decode()
    for name, value in values.items():
        setattr(user, name, value)
    db.commit()
    db.refresh(user)
    return user
