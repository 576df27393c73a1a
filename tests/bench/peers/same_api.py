"""The service itself, and the tutorial's app, which has the same API."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.load import Load, Request
from tests.bench.operations import OURS, SLOW, TUTORIAL_CONNECTIONS, refreshes, requests_of
from tests.bench.operations import TUTORIAL as TUTORIAL_NAME
from tests.bench.peers.peer import HERE, ME, Peer
from tests.bench.servers import TUTORIAL, USERAPI, PythonServer, Server, running
from tests.bench.site import JSON, Filled
from tests.support.installed import programs


@contextmanager
def userapi(filled: Filled, workers: int) -> Iterator[Peer]:
    """Start the service. Those that refresh log in elsewhere: it would make new hashes of what cost less."""
    server = PythonServer(USERAPI, filled.url, filled.folder, workers=workers, rounds=filled.rounds)
    cheap = PythonServer(USERAPI, filled.url, filled.folder, workers=workers)
    with running(server, cheap):
        loads = _loads(server, cheap, filled.users, "PATCH")
        yield Peer(OURS, loads | {"refresh": refreshes(cheap, filled.users)})


@contextmanager
def tutorial(filled: Filled, workers: int) -> Iterator[Peer]:
    """Start the tutorial's app."""
    python = str(programs(HERE / "tutorial.txt") / "python")
    options = {"workers": workers, "rounds": filled.rounds}
    server = PythonServer(TUTORIAL, filled.sync_url, filled.folder, python=python, **options)
    with running(server):
        yield Peer(TUTORIAL_NAME, _loads(server, server, filled.users, "PUT"), most=TUTORIAL_CONNECTIONS)


def _loads(server: Server, cheap: Server, users: int, method: str) -> dict[str, Load]:
    requests = requests_of(users, cheap)
    requests["me"] = requests["me"][:ME]
    requests["update"] = [
        Request(method, f"/users/{number + 1}", {**one.headers, **JSON}, '{"age": {age}}')
        for number, one in zip(range(2, users, 2), requests["me"], strict=False)
    ]
    return {name: Load(server, of_name, slow=name in SLOW) for name, of_name in requests.items()}
