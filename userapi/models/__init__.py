"""The data: one hierarchy that is the tables and the schemas of requests and answers."""
# What stands here is what the rest of the service names.

from userapi.models.base import Model, column
from userapi.models.clients import CLIENT_NAME, OAuthClient
from userapi.models.deployment import Deployment
from userapi.models.events import MAX_EVENT_ID, OPERATOR, ActivityQuery, Event, EventName, EventPublic, EventQuery
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
from userapi.models.guards import KnownDevice, PasswordGuesses, ThrottleCounter, Unlock
from userapi.models.mail import MailClient, OneTimeCode, OutboxMail
from userapi.models.ocsf import ocsf
from userapi.models.sessions import LoginSession, SessionPublic
from userapi.models.users import (
    PUBLIC_FIELDS,
    USER_ROW,
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
