"""Floods: of logins, of registrations, of names; and strangers who would lock somebody out."""

import asyncio
import itertools
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

from tests.attack.arena import Arena, Person, Target, Verdict, code_of, new_password, resident_mib, stranger
from tests.attack.wire import Answer, exchange, form
from tests.support.processes import ROOT, run, wait_until

RATE = 40  # floods of one address, requests a second
FLOOD_ADDRESS, HONEST_ADDRESS = "203.0.113.50", "203.0.113.60"
PATIENCE = 2  # seconds that others may wait, beside their own hash
FAILURES_A_SECOND, UNDER_WAY = 500, 48
P99_MS = 20
KNOWN_NAMES, NAMES_MIB = 12_000, 10  # after so many names its memory grows no further, but for so much


def fair_shares(arena: Arena) -> Iterator[Verdict]:
    """Item 7: floods of one address at bcrypt's usual cost."""
    with arena.target(BCRYPT_ROUNDS="12", REGISTRATION_ENABLED="true") as target:
        honest = target.new_user()
        owned = [target.new_user() for _ in range(4)]
        own = statistics.median(_timed_login(target, honest) for _ in range(3))
        number = itertools.count()

        def right() -> bytes:
            person = owned[next(number) % len(owned)]
            return form("/token", FLOOD_ADDRESS, username=person.username, password=person.password)

        def wrong() -> bytes:
            return form("/token", FLOOD_ADDRESS, username=f"nobody{next(number)}", password=new_password())

        def known() -> bytes:
            return form("/token", FLOOD_ADDRESS, username=owned[next(number) % 4].username, password=new_password())

        for words, flood in (("right passwords", right), ("wrong passwords", wrong), ("registrations", _registration)):
            yield asyncio.run(_flooded(target, honest, words, flood, own, 5 if arena.quick else 10))
        if not arena.quick:
            yield asyncio.run(_flooded(target, honest, "wrong passwords of few accounts", known, own, 10))


def _registration() -> bytes:
    name = f"f{new_password()[4:]}"
    body = f'{{"username": "{name}", "email": "{name}@example.com", "password": "{new_password()}"}}'
    sent = form("/register", FLOOD_ADDRESS).partition(b"\r\n\r\n")[0].replace(b"Length: 0", b"Length: %d" % len(body))
    return sent.replace(b"application/x-www-form-urlencoded", b"application/json") + b"\r\n\r\n" + body.encode()


def _timed_login(target: Target, person: Person) -> float:
    begun = time.monotonic()
    target.grant(person, address=HONEST_ADDRESS)
    return time.monotonic() - begun


async def _flooded(
    target: Target, honest: Person, words: str, flood: Callable[[], bytes], own: float, seconds: int
) -> Verdict:
    """Let one address flood the service while somebody logs in from another, once a second."""
    floods, logins = [], []
    begun = time.monotonic()
    login = form("/token", HONEST_ADDRESS, username=honest.username, password=honest.password)
    for number in range(RATE * seconds):
        await asyncio.sleep(begun + number / RATE - time.monotonic())
        floods.append(asyncio.create_task(exchange(target.place, flood())))
        if number % RATE == RATE // 2:
            logins.append(asyncio.create_task(exchange(target.place, login, 30)))
    answers = await asyncio.gather(*logins)
    for task in floods:
        task.cancel()
    flooding = await asyncio.gather(*floods, return_exceptions=True)
    statuses = Counter(answer.status for answer in flooding if isinstance(answer, Answer))
    good, slowest = sum(answer.status == 200 for answer in answers), max(answer.seconds for answer in answers)
    held = good == len(answers) and slowest < PATIENCE + own
    told = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    honest_words = f"honest logins {good} of {len(answers)}, slowest {slowest:.2f} s (own hash {own:.2f} s)"
    await _drained(target, login)
    return Verdict(7, held, f"{RATE}/s {words} of one address for {seconds} s: {honest_words}; the flood got {told}")


async def _drained(target: Target, login: bytes) -> None:
    """Let what the flood left behind be worked off, so that one flood does not count for the next."""
    for _ in range(10):
        if (await exchange(target.place, login, 30)).seconds < 1:
            return


def lockout(arena: Arena) -> Iterator[Verdict]:
    """Item 9: strangers fail until an account is locked; a device that was there before still gets in."""
    device = {"address": "203.0.113.70", "agent": "the device of alice"}
    with arena.target() as target:
        alice, bob, carol = (target.new_user() for _ in range(3))
        kept = "; ".join(f"{name}={value}" for name, value in target.log_in(alice, **device).cookies.items())
        failures = _failures(target, itertools.repeat(alice.username, 40))
        elsewhere = target.log_in(alice, address=stranger())
        inside = target.log_in(alice, headers={"Cookie": kept} if kept else {}, **device)
        words = (
            f"strangers fail ({failures[401]} checked, {failures[429]} refused): a known device {inside.status_code}"
        )
        yield Verdict(
            9, inside.status_code == 200, f"{words}, an unknown one with the right password {code_of(elsewhere)}"
        )

        budget = _failures(target, itertools.repeat(carol.username, 20))[401]
        mixed = _failures(target, itertools.islice(itertools.cycle([bob.username, bob.email]), 20))[401]
        nobody = _failures(target, itertools.repeat("nobody_of_that_name", 20))[401]
        held = budget == mixed == nobody < 20
        words = f"by name {budget}, by name and e-mail in turn {mixed}, of nobody {nobody}"
        yield Verdict(9, held, f"failures that are checked before a lock: {words}")
        if target.server is None:
            yield Verdict(9, None, "unlock without Redis: needs the service's database")
            return
        locked = target.log_in(carol, address=stranger()).status_code
        done = run("userapi", "unlock", carol.username, url=target.server.url)
        try:
            wait_until(lambda: target.log_in(carol, address=stranger()).status_code == 200, 5)
            status = 200
        except AssertionError:
            status = target.log_in(carol, address=stranger()).status_code
        words = f"unlock without Redis (exit code {done.returncode}): an unknown device {locked} before, {status} after"
        yield Verdict(9, (locked, status) == (429, 200), words)


def _failures(target: Target, names: Iterator[str]) -> Counter[int]:
    """Fail to log in by these names, each time from another address; count the answers."""
    nobody = target.admin
    logins = (target.log_in(nobody, username=name, password=new_password(), address=stranger()) for name in names)
    return Counter(answer.status_code for answer in logins)


def names(arena: Arena) -> Iterator[Verdict]:
    """Item 10: names without end, each from another address."""
    with arena.target() as target:
        count = arena.names
        watching = subprocess.Popen(
            [sys.executable, "-m", "tests.attack.watch", target.base_url, str(count / FAILURES_A_SECOND - 1)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        answers, took, mib = asyncio.run(_named(target, count))
        p99, longest, asked, failed = map(float, watching.communicate(timeout=60)[0].split())
        told = ", ".join(f"{number:,} x {status or 'no answer'}" for status, number in sorted(answers.items()))
        words = f"{answers[401] / took:.0f} failures a second, each of another name and address ({told})"
        held = p99 < P99_MS and not failed and answers[401] > count / 2
        yield Verdict(10, held, f"{words}: /health/live p99 {p99:.1f} ms, longest {longest:.0f} ms, of {asked:.0f}")
        if target.server is not None:
            known, end = min(KNOWN_NAMES, count // 2), len(mib) - 1
            early = mib[known * end // count]
            grown = mib[end] - early
            words = f"its memory: {mib[0]:.0f} MiB before, {early:.0f} after {known:,} names, {mib[end]:.0f} after all"
            yield Verdict(10, grown < NAMES_MIB, words)


async def _named(target: Target, count: int) -> tuple[Counter[int], float, list[float]]:
    """Fail to log in by so many names, at a steady rate; return the answers, the seconds, and the memory on the way."""
    slots, statuses, mib = asyncio.Semaphore(UNDER_WAY), Counter[int](), []
    begun = time.monotonic()

    async def one(number: int) -> None:
        sent = form("/token", stranger(), username=f"flood{number}", password="x")
        statuses[(await exchange(target.place, sent, 30)).status] += 1
        slots.release()

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            if number % (FAILURES_A_SECOND // 2) == 0 and target.server is not None:
                mib.append(resident_mib(target.server.process.pid))
            await asyncio.sleep(begun + number / FAILURES_A_SECOND - time.monotonic())
            await slots.acquire()
            group.create_task(one(number))
    return statuses, time.monotonic() - begun, mib
