"""Attacks by whoever holds a token, a copy of one, or a copy of the signing key."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import httpx2 as httpx
import sqlalchemy as sa
from sqlmodel import col

from tests.attack.arena import Arena, Person, Target, Verdict, code_of, new_password, stranger
from tests.support.databases import new_database, sqlite_path
from tests.support.insides import LoginSession, now

GUESSES = 40
ALLOWED = 10  # guesses of a current password that are looked at, in a row
HASHED_AT_ONCE = 8  # parallel guesses may overshoot by the cores, of which there are no more than this here
GRACE = 12  # seconds: more than the 10 in which parallel tabs may present a token again


def guess(target: Target, token: str, current: str | None = None) -> httpx.Response:
    """Change one's e-mail address with a guessed current password, from a new address."""
    body = {"email": f"{new_password().lower()}@example.com", "current_password": current or new_password()}
    return target.ask("PATCH", "/users/me", token, json=body, address=stranger())


def rename(target: Target, token: str) -> None:
    target.ask("PATCH", "/users/me", token, json={"username": f"r_{new_password()[4:20]}"})


def told(codes: Counter[str]) -> str:
    return ", ".join(f"{count} {code}" for code, count in codes.most_common())


def current_passwords(arena: Arena) -> Iterator[Verdict]:
    """Item 1: guesses of `current_password`."""
    with arena.target() as target:
        alice = target.new_user()
        token = target.grant(alice)["access_token"]
        codes: Counter[str] = Counter()
        for number in range(GUESSES):
            if number % 4 == 3:
                rename(target, token)
            codes[code_of(guess(target, token))] += 1
        held = codes["current_password_incorrect"] == ALLOWED and codes["too_many_attempts"] == GUESSES - ALLOWED
        yield Verdict(
            1, held, f"{GUESSES} guesses of a current password, renamed between, each elsewhere: {told(codes)}"
        )
        right = guess(target, token, alice.password)
        seconds = int(right.headers.get("Retry-After", 0))
        held = right.status_code == 429 and 600 < seconds <= 900
        yield Verdict(1, held, f"the right one after them: {right.status_code}, to be tried again in {seconds} s")
        login = target.log_in(alice, username=alice.email, address=stranger()).status_code
        yield Verdict(1, login == 200, f"the owner logs in elsewhere meanwhile: {login}")

        bob = target.new_user()
        token = target.grant(bob)["access_token"]
        failures = Counter(target.log_in(bob, password="x", address=stranger()).status_code for _ in range(20))
        changed = guess(target, token, bob.password).status_code
        words = (
            f"strangers fail to log in ({failures[401]} checked, {failures[429]} not); the owner changes its address"
        )
        yield Verdict(1, changed == 200, f"{words}: {changed}")

        token = target.grant(target.new_user())["access_token"]
        with ThreadPoolExecutor(GUESSES) as pool:
            codes = Counter(pool.map(lambda _: code_of(guess(target, token)), range(GUESSES)))
        held = 0 < codes["current_password_incorrect"] <= ALLOWED + HASHED_AT_ONCE
        yield Verdict(1, held, f"{GUESSES} guesses at once: {told(codes)}")
        yield _guesses_of_two_processes(arena, target)


def _guesses_of_two_processes(arena: Arena, first: Target) -> Verdict:
    if first.server is None:
        return Verdict(1, None, "guesses by two processes: needs a second process")
    token = first.grant(first.new_user())["access_token"]
    with arena.service(first.server.url, admin=first.admin) as second:
        targets = [first, second] * (GUESSES // 2)
        codes = Counter(code_of(guess(target, token)) for target in targets)
    held = codes["current_password_incorrect"] == ALLOWED
    return Verdict(1, held, f"{GUESSES} guesses by two processes in turn, no Redis: {told(codes)}")


def old_sessions(arena: Arena) -> Iterator[Verdict]:
    """Item 2: what a token does whose login is two hours old."""
    with arena.target() as target:
        if target.server is None:
            yield Verdict(2, None, "an old session: needs the database, to make one")
            return
        alice, bob = target.new_user(), target.new_user()
        own, admin = target.grant(alice), target.grant(target.admin)
        ago = now() - timedelta(hours=2)
        with target.server.engine.begin() as connection:
            connection.execute(sa.update(LoginSession).values(created_at=ago))
        for pair, attempts in ((own, _own_changes(alice)), (admin, _admin_changes(bob))):
            for when, tokens in (("", pair), (" after a refresh", target.refresh(pair["refresh_token"]).json())):
                yield _refused(target, tokens["access_token"], attempts, when)
        token = target.grant(alice)["access_token"]
        reads = target.ask("GET", "/users/me", token).status_code
        change = target.ask("PATCH", "/users/me", token, json={"age": 30}).status_code
        yield Verdict(2, (reads, change) == (200, 200), f"an old session reads and changes its age: {reads}, {change}")
        after = [target.ask(*attempt[:2], token, json=attempt[2]).status_code for attempt in _own_changes(alice)]
        yield Verdict(2, all(200 <= s < 300 for s in after[:1]), f"after a new login the name is changed: {after[0]}")


Attempt = tuple[str, str, dict[str, Any] | None]


def _own_changes(person: Person) -> list[Attempt]:
    renamed = {"username": f"new_{person.username[4:]}"}
    return [("PATCH", "/users/me", renamed), ("PUT", f"/users/{person.id}", renamed), ("DELETE", "/users/me", None)]


def _admin_changes(other: Person) -> list[Attempt]:
    path, password = f"/users/{other.id}", new_password()
    new_admin = {"username": "mallory", "email": "mallory@example.com", "password": password, "is_admin": True}
    changes: list[dict[str, Any]] = [{"is_admin": True}, {"password": password}, {"email": "mallory@example.com"}]
    puts: list[Attempt] = [("PUT", path, change) for change in changes]
    return [("POST", "/users", new_admin), *puts, *(("PATCH", p, c) for _, p, c in puts), ("DELETE", path, None)]


def _refused(target: Target, token: str, attempts: list[Attempt], when: str) -> Verdict:
    """Tell whether all attempts are refused for want of a recent login, in the words of RFC 9470."""
    passed = []
    for method, path, body in attempts:
        answer = target.ask(method, path, token, **({} if body is None else {"json": body}))
        challenge = answer.headers.get("WWW-Authenticate", "")
        rfc = 'error="insufficient_user_authentication"' in challenge and re.search(r"max_age=\"?3600", challenge)
        if code_of(answer) != "recent_login_required" or answer.status_code != 403 or not rfc:
            passed.append(f"{method} {path} {','.join(body or {})} {code_of(answer)}")
    whose = "an admin" if len(attempts) > 3 else "a user"
    words = f"an old session of {whose}{when}: {len(attempts) - len(passed)} of {len(attempts)} changes refused"
    return Verdict(2, not passed, "; ".join([words, *passed[:4]]))


def copied_keys(arena: Arena) -> Iterator[Verdict]:
    """Item 4: tokens on another database with the same key, and what a password change leaves."""
    if arena.private:
        with ExitStack() as stack:
            first, second = (stack.enter_context(arena.target()) for _ in range(2))  # with one SECRET_KEY
            pairs = [target.grant(target.admin) for target in (first, second)]
            yield _worthless(second, pairs[0], "the same SECRET_KEY, another database")
        yield _new_database_beside_old_key(arena)
    else:
        yield Verdict(4, None, "another database with the same key: needs a second service")
    with arena.target() as target:
        alice = target.new_user()
        old = target.grant(alice)
        target.ask("POST", "/revoke", data={"token": old["access_token"]})
        target.grant(alice)  # where ids are given again, with the id of the session before
        yield _worthless(target, old, "logged out, then a new session")
        yield from _own_password_change(target)


def _worthless(target: Target, pair: dict[str, str], words: str) -> Verdict:
    access = target.ask("GET", "/users/me", pair["access_token"]).status_code
    refresh = target.refresh(pair["refresh_token"]).status_code
    return Verdict(4, (access, refresh) == (401, 400), f"{words}: old access token {access}, refresh token {refresh}")


def _new_database_beside_old_key(arena: Arena) -> Verdict:
    with new_database("sqlite") as url:
        with arena.service(url, settings={"SECRET_KEY": ""}) as target:
            pair = target.grant(target.admin)
        path = sqlite_path(url)
        for file in path.parent.glob(f"{path.name}*"):
            if not file.name.endswith("secret_key"):
                file.unlink()
        with arena.service(url, settings={"SECRET_KEY": ""}) as target:
            target.grant(target.admin)
            return _worthless(target, pair, "a new database beside the old key file")


def _own_password_change(target: Target) -> Iterator[Verdict]:
    bob = target.new_user()
    own, other = target.grant(bob), target.grant(bob)
    body = {"password": new_password(), "current_password": bob.password}
    before = _generation(target, bob)
    changed = target.ask("PATCH", "/users/me", own["access_token"], json=body).status_code
    statuses = [target.ask("GET", "/users/me", pair["access_token"]).status_code for pair in (own, other)]
    words = f"an own password change ({changed}): its session {statuses[0]}, another {statuses[1]}"
    yield Verdict(4, [changed, *statuses] == [200, 200, 401], words)
    if before is not None:
        after = _generation(target, bob)
        yield Verdict(4, after == before + 1, f"it raises the session's refresh generation: {before} to {after}")


def _generation(target: Target, person: Person) -> int | None:
    """Return the highest refresh generation of somebody's sessions."""
    if target.server is None:
        return None
    highest = sa.select(sa.func.max(LoginSession.generation)).where(col(LoginSession.user_id) == person.id)
    with target.server.engine.connect() as connection:
        return connection.execute(highest).scalar_one()


def refresh_tokens(arena: Arena) -> Iterator[Verdict]:
    """Item 5: lost answers, and copies of refresh tokens."""
    here, there = "203.0.113.7", "203.0.113.8"
    with arena.target() as target:
        firsts = [target.grant(target.new_user(), address=here)["refresh_token"] for _ in range(5)]
        lost, used, moved, agent, tabs = firsts
        seconds = [target.refresh(first, address=here).json() for first in firsts]
        for second in seconds[1:]:
            target.ask("GET", "/users/me", second["access_token"], address=here)
        again = target.refresh(tabs, address=here).status_code
        yield Verdict(5, again == 200, f"a parallel tab within the grace, same address and user agent: {again}")
        for words, first, second, options in (
            ("another address", moved, seconds[2], {"address": there}),
            ("another user agent", agent, seconds[3], {"address": here, "agent": "thief"}),
        ):
            yield _ended(target, first, second, f"a copy within the grace, {words}", options)
        if target.server is not None:
            lines = [line for line in target.server.output if here in line and there in line]
            yield Verdict(5, bool(lines), f"events that name both addresses of it: {len(lines)}")
            yield _writes(target)
        time.sleep(GRACE)
        again = target.refresh(lost, address=there).status_code
        yield Verdict(5, again == 200, f"an answer was lost; the same token after {GRACE} s: {again}")
        yield _ended(target, used, seconds[1], f"the generation before, {GRACE} s after the current one was used", {})


def _ended(target: Target, first: str, second: dict[str, str], words: str, options: dict[str, str]) -> Verdict:
    refused = target.refresh(first, **options).status_code
    alive = target.ask("GET", "/users/me", second["access_token"]).status_code
    return Verdict(5, (refused, alive) == (400, 401), f"{words}: {refused}, the session then answers {alive}")


def _writes(target: Target) -> Verdict:
    """Count the writes that reads with the tokens of one rotation cost."""
    assert target.server is not None
    pair = target.refresh(target.grant(target.new_user())["refresh_token"]).json()
    with target.server.engine.connect() as connection:

        def version() -> int:
            number: int = connection.execute(sa.text("PRAGMA data_version")).scalar_one()
            connection.rollback()
            return number

        seen = [version()]
        for _ in range(50):
            target.ask("GET", "/users/me", pair["access_token"])
            seen.append(version())
    writes = len(set(seen)) - 1
    return Verdict(5, writes <= 1, f"50 reads after a rotation: {writes} writes")
