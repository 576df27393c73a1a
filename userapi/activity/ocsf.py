"""Events in the form of the Open Cybersecurity Schema Framework (OCSF 1.3.0), for those who collect them elsewhere."""

from typing import Any

from userapi import __version__
from userapi.events.models import EventName, EventPublic

_ACCOUNT_CHANGE, _AUTHENTICATION, _OTHER = 3001, 3002, 99
_INFORMATIONAL, _MEDIUM, _HIGH = 1, 3, 4
_SUCCESS, _FAILURE = 1, 2

# The class, the activity, the severity and the status of each.
_MEANINGS: dict[str, tuple[int, int, int, int]] = {
    EventName.USER_CREATED: (_ACCOUNT_CHANGE, 1, _INFORMATIONAL, _SUCCESS),
    EventName.USER_CHANGED: (_ACCOUNT_CHANGE, _OTHER, _INFORMATIONAL, _SUCCESS),
    EventName.USER_ACTIVATED: (_ACCOUNT_CHANGE, 2, _INFORMATIONAL, _SUCCESS),
    EventName.USER_DEACTIVATED: (_ACCOUNT_CHANGE, 5, _INFORMATIONAL, _SUCCESS),
    EventName.USER_DELETED: (_ACCOUNT_CHANGE, 6, _INFORMATIONAL, _SUCCESS),
    EventName.ADMIN_GRANTED: (_ACCOUNT_CHANGE, 7, _MEDIUM, _SUCCESS),
    EventName.ADMIN_REVOKED: (_ACCOUNT_CHANGE, 8, _INFORMATIONAL, _SUCCESS),
    EventName.PASSWORD_CHANGED: (_ACCOUNT_CHANGE, 3, _INFORMATIONAL, _SUCCESS),
    EventName.LOGIN_LOCKED: (_ACCOUNT_CHANGE, 9, _MEDIUM, _SUCCESS),
    EventName.LOGIN_UNLOCKED: (_ACCOUNT_CHANGE, _OTHER, _INFORMATIONAL, _SUCCESS),  # which OCSF 1.4 has a number for
    EventName.LOGIN_SUCCEEDED: (_AUTHENTICATION, 1, _INFORMATIONAL, _SUCCESS),
    EventName.LOGIN_FAILED: (_AUTHENTICATION, 1, _MEDIUM, _FAILURE),
    EventName.SESSION_REVOKED: (_AUTHENTICATION, 2, _INFORMATIONAL, _SUCCESS),
    EventName.NEW_DEVICE: (_AUTHENTICATION, _OTHER, _INFORMATIONAL, _SUCCESS),
    EventName.REFRESH_REUSED: (_AUTHENTICATION, _OTHER, _HIGH, _FAILURE),
}
_BASE_EVENT = (0, _OTHER, _INFORMATIONAL, _SUCCESS)  # what is neither: mails, imports


def ocsf(event: EventPublic) -> dict[str, Any]:
    """Return an event as an Account Change (3001) or an Authentication (3002), or as a Base Event if it is neither."""
    class_uid, activity, severity, status = _MEANINGS.get(event.name, _BASE_EVENT)
    changed, told = event.changes or {}, event.details or {}
    found: dict[str, Any] = {
        "metadata": {
            "version": "1.3.0",
            "product": {"name": "userapi", "vendor_name": "userapi", "version": __version__},
            "uid": str(event.id),
            "event_code": event.name,
            "correlation_uid": event.request_id,
        },
        "class_uid": class_uid,
        "category_uid": class_uid // 1000,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
        "activity_name": event.name if activity == _OTHER else None,
        "severity_id": severity,
        "status_id": status,
        "time": int(event.at.timestamp() * 1000),
        "count": told.get("count"),
        "user": _user(event.user_id),
        "actor": _actor(event),
        "service": {"name": "userapi"} if class_uid == _AUTHENTICATION else None,
        "session": {"uid": str(event.session_id)} if event.session_id else None,
        "src_endpoint": {"ip": event.address} if event.address else None,
        "http_request": {"user_agent": event.user_agent} if event.user_agent else None,
        "unmapped": {**({"changes": changed} if changed else {}), **told} or None,
    }
    if class_uid == 0:  # which has none of these
        beyond = {name: found.pop(name) for name in ("user", "actor", "session", "src_endpoint", "http_request")}
        if not event.user_id:
            del beyond["user"]
        found["unmapped"] = _told({**(found["unmapped"] or {}), **beyond}) or None
    return _told(found)


def _told(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _user(user_id: int | None) -> dict[str, Any]:
    return {"uid": str(user_id)} if user_id else {"name": "unknown"}


def _actor(event: EventPublic) -> dict[str, Any] | None:
    if event.actor_id == "operator":
        return {"app_name": f"python -m userapi {(event.details or {}).get('command', '')}".strip()}
    return {"user": _user(event.actor_id)} if event.actor_id else None
