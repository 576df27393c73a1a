"""The data of users and logins: one hierarchy that is the tables and the schemas of requests and answers."""
# What stands here is what the rest of the service names.

from userapi.models.base import column
from userapi.models.deployment import Deployment
from userapi.models.fields import (
    MAX_EMAIL,
    MAX_ID,
    MAX_PASSWORD_BYTES,
    MIN_PASSWORD,
    Age,
    Email,
    Instant,
    Locale,
    Password,
    Timestamp,
    UserId,
    Username,
    canonical,
    key_type,
    now,
)
from userapi.models.sessions import LoginSession, SessionPublic, new_nonce
from userapi.models.users import (
    LOCKED_USER,
    PUBLIC_FIELDS,
    USER_ROW,
    LockedUser,
    User,
    UserBase,
    UserCreate,
    UserImport,
    UserImportUpdate,
    UserListed,
    UserPatch,
    UserPublic,
    UserRegister,
    UserRow,
    UserUpdate,
    row_of,
)
