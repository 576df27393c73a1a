"""A service on each of the three nodes of a Galera cluster: it must be as on one database (R13)."""

import logging
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.cluster.conftest import Hosts
from tests.support.client import Actor
from tests.support.clusters import GaleraNode
from tests.support.crowd import Call, Crowd, Reply, at_once
from tests.support.databases import new_database, url_at
from tests.support.people import ADMIN_PASSWORD, NEW_PASSWORD, PASSWORD
from tests.support.processes import run, wait_until
from tests.support.servers import Server
from tests.support.writers import Writers

log = logging.getLogger(__name__)


def together(hosts: Hosts, *calls: Call) -> list[Reply]:
    """Send each call to a node of its own, all at once."""
    crowds = [Crowd(server, [call]) for server, call in zip(hosts.servers, calls, strict=False)]
    for crowd in crowds:
        crowd.send()
    return [reply for crowd in crowds for reply in crowd.replies()]


def on(server: Server, *calls: Call) -> list[int]:
    return [reply.status for reply in at_once(server, calls)]


def staggered(*asked: tuple[Server, Call]) -> list[Reply]:
    """Send calls to services at once, each at a moment of its own within some milliseconds."""

    def later(server: Server, call: Call) -> Reply:
        time.sleep(random.uniform(0, 0.02))
        [reply] = at_once(server, [call])
        return reply

    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(later, *zip(*asked, strict=True)))


@pytest.fixture
def bob(hosts: Hosts) -> Actor:
    """A second admin."""
    return hosts.api.new_actor("bob", is_admin=True)


@pytest.mark.slow
class TestAsOneDatabase:
    """R13."""

    def test_last_active_admin_stays(self, hosts: Hosts, bob: Actor, rounds: int) -> None:
        """R13: two admins take each other's rights away, each on a node of its own."""
        api, lost = hosts.api, 0
        for _ in range(rounds):
            ids = (bob.id, api.admin.id)
            demotions = [
                Call("PATCH", f"/users/{user_id}", token, json={"is_admin": False})
                for user_id, token in zip(ids, (api.admin.token, bob.token), strict=True)
            ]
            statuses = [reply.status for reply in together(hosts, *demotions)]
            assert set(statuses) <= {200, 400, 403}, statuses
            assert 200 in statuses
            lost += api.sql("SELECT COUNT(*) FROM users WHERE is_admin AND is_active")[0][0] == 0
            api.sql("UPDATE users SET is_admin = true, version = version + 1")
        assert lost == 0, f"in {lost} of {rounds} rounds no admin was left"

    @pytest.mark.parametrize("change", [{"password": NEW_PASSWORD}, {"is_active": False}], ids=["password", "inactive"])
    def test_no_login_outlives_the_change_of_its_user(self, hosts: Hosts, rounds: int, change: dict[str, Any]) -> None:
        """R13: logins with the old password, while another node sets a new one or deactivates the user."""
        api, tried, alive = hosts.api, 0, 0
        for number in range(rounds):
            user = api.new_user(f"user{number}")
            form = {"username": user["username"], "password": PASSWORD}
            login = Call("POST", "/token", form=form)
            patch = Call("PATCH", f"/users/{user['id']}", api.admin.token, json=change)
            logins = [(server, login) for server in hosts.servers[1:] for _ in range(3)]
            changed, *replies = staggered((hosts.servers[0], patch), *logins)
            assert changed.status == 200, changed
            assert {reply.status for reply in replies} <= {200, 401}, replies
            tokens = [reply.body["access_token"] for reply in replies if reply.status == 200]
            tried += len(tokens)
            alive += sum(on(hosts.servers[0], Call("GET", "/users/me", token)) != [401] for token in tokens)
        assert alive == 0, f"{alive} of {tried} logins outlived the change"

    def test_what_is_revoked_is_dead_on_every_node_at_once(self, hosts: Hosts, rounds: int) -> None:
        """R13."""
        api, alive = hosts.api, 0
        api.new_user("alice")
        for number in range(rounds):
            first, *others = [hosts.servers[(number + offset) % 3] for offset in range(3)]
            token = api.token("alice")
            assert on(others[0], Call("GET", "/users/me", token)) == [200]  # a login is known everywhere at once, too
            assert on(first, Call("POST", "/revoke", form={"token": token})) == [200]
            alive += sum(on(server, Call("GET", "/users/me", token)) != [401] for server in others)
        assert alive == 0, f"{alive} of {rounds * 2} uses after the revocation"

    def test_of_creations_with_one_name_one_succeeds(self, hosts: Hosts, rounds: int) -> None:
        """R13."""
        for number in range(rounds):
            bodies = [
                {"username": f"carol{number}", "email": f"c{number}_{node}@example.com", "password": PASSWORD}
                for node in range(3)
            ]
            replies = together(hosts, *(Call("POST", "/users", hosts.api.admin.token, json=body) for body in bodies))
            assert sorted(reply.status for reply in replies) == [201, 400, 400], replies
            assert {reply.body["code"] for reply in replies if reply.status == 400} == {"username_taken"}

    def test_of_changes_of_one_version_one_succeeds(self, hosts: Hosts, rounds: int) -> None:
        """R13."""
        path = f"/users/{hosts.api.new_user('alice')['id']}"
        for number in range(rounds):
            tag = hosts.api.admin.get(path).headers["ETag"]
            patches = [
                Call(
                    "PATCH",
                    path,
                    hosts.api.admin.token,
                    {"age": 1 + (number * 3 + node) % 100},
                    headers={"If-Match": tag},
                )
                for node in range(3)
            ]
            assert sorted(reply.status for reply in together(hosts, *patches)) == [200, 412, 412]

    def test_no_change_of_one_user_is_lost_however_many_collide(self, hosts: Hosts) -> None:
        """R13: what fails to be certified, at the commit mostly, runs again."""
        user = hosts.api.new_user("alice")
        patches = [
            Call("PATCH", f"/users/{user['id']}", hosts.api.admin.token, json={"age": age}) for age in range(1, 6)
        ]
        crowds = [Crowd(server, patches) for server in hosts.servers]
        for crowd in crowds:
            crowd.send()
        statuses = [reply.status for crowd in crowds for reply in crowd.replies()]
        assert statuses == [200] * 15

    def test_three_nodes_migrate_one_empty_database(self, galera_nodes: list[GaleraNode], rounds: int) -> None:
        """R13."""
        for _ in range(max(1, rounds // 12)):
            with new_database("mysql", galera_nodes[0].url) as url, ThreadPoolExecutor(3) as pool:
                urls = [url_at(node.url, url) for node in galera_nodes]
                done = list(pool.map(lambda url: run("userapi", "migrate", url=url), urls))
                assert [finished.returncode for finished in done] == [0, 0, 0], [finished.stderr for finished in done]
                assert sum("went from nothing" in finished.stdout for finished in done) == 1, done


@pytest.mark.slow
class TestNodeKilled:
    """R14."""

    def test_what_was_acknowledged_is_there_and_errors_are_503(self, hosts: Hosts) -> None:
        """R14: the service of a dead node is unavailable; those of the others go on."""
        api, victim = hosts.api, hosts.nodes[2]
        with Writers(hosts.servers * 2, api.admin.token) as writers:
            wait_until(lambda: len(writers.acknowledged) > 30)
            victim.end(signal.SIGKILL)
            before = len(writers.acknowledged)
            wait_until(lambda: len(writers.acknowledged) > before + 30, 60)
        log.info("node killed: %s", writers)
        assert set(writers.statuses) <= {201, 503}, writers.statuses
        there = {row.username for row in api.sql("SELECT username FROM users")}
        assert set(writers.acknowledged) <= there
        assert on(hosts.servers[1], Call("POST", "/token", form={"username": "admin", "password": ADMIN_PASSWORD})) == [
            200
        ]
        third = hosts.servers[2].client()
        assert third.get("/health/ready").json()["detail"] == "Not ready: database"
        victim.start()  # its data is sent over
        wait_until(lambda: third.get("/health/ready").is_success, 60)
        third.close()
