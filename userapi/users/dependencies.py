"""What routes that make or change users ask for."""

import re
from typing import Annotated

from fastapi import Depends, Header, Request

from userapi.security.hashing import Passwords
from userapi.security.strength import Strength
from userapi.users.password_check import PasswordCheck
from userapi.users.rules import Version


async def _passwords(request: Request) -> Passwords:
    passwords: Passwords = request.app.state.services.passwords
    return passwords


async def _strength(request: Request) -> Strength:
    strength: Strength = request.app.state.services.strength
    return strength


async def _password_check(request: Request) -> PasswordCheck:
    check: PasswordCheck = request.app.state.services.password_check
    return check


async def _if_match(
    request: Request,
    _: Annotated[
        str, Header(alias="If-Match", description="`ETag` of the version to change; 412 if the user has changed since")
    ] = "*",
) -> Version:
    """Return the versions that a change is made for (RFC 9110 section 13.1.1); weak and unknown tags match none."""
    tags = request.headers.getlist("if-match")
    if not tags or tags == ["*"]:
        return None
    return {int(version) for version in re.findall(r'(?<!/)"([1-9][0-9]{0,9})"', ",".join(tags))}


PasswordsDep = Annotated[Passwords, Depends(_passwords)]
StrengthDep = Annotated[Strength, Depends(_strength)]
PasswordCheckDep = Annotated[PasswordCheck, Depends(_password_check)]
IfMatch = Annotated[Version, Depends(_if_match)]
