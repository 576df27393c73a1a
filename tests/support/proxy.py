"""A proxy in front of a database server that breaks connections off when told to."""

import re
import socket
import threading
from contextlib import suppress

_COMMIT = re.compile(rb"COMMIT(?!TED)")  # not the isolation level READ COMMITTED


class Proxy:
    """Passes bytes between clients and a database server, and cuts a connection off when told to."""

    def __init__(self, port: int) -> None:
        self._upstream = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._cut: str | None = None
        self._replaced: tuple[bytes, bytes] | None = None
        self._silent = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_commit(self, when: str) -> None:
        """Cut off the connection that commits next: "before" the server hears of it, or "after" it has committed."""
        self._cut = when

    def replace(self, asked: bytes, other: bytes) -> None:
        """Have the server asked for something else from now on, as a pooler does that mixes up statements."""
        assert len(asked) == len(other)
        self._replaced = asked, other

    def fall_silent(self) -> None:
        """Swallow what is sent from now on, in both directions, and close nothing: a cable is out."""
        self._silent.set()

    def speak_again(self) -> None:
        """Pass bytes on again; what was swallowed is lost."""
        self._silent.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._upstream)
                answer_lost = threading.Event()
                for pump in (self._ask, self._answer):
                    threading.Thread(target=pump, args=(client, server, answer_lost), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, answer_lost: threading.Event) -> None:
        with suppress(OSError), client, server:
            while data := client.recv(65536):
                if self._cut and _COMMIT.search(data):
                    when, self._cut = self._cut, None
                    if when == "before":
                        break
                    answer_lost.set()
                if self._replaced:
                    data = data.replace(*self._replaced)
                if not self._silent.is_set():
                    server.sendall(data)
            _hang_up(client, server)

    def _answer(self, client: socket.socket, server: socket.socket, answer_lost: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if answer_lost.is_set():
                    break
                if not self._silent.is_set():
                    client.sendall(data)
        _hang_up(client, server)


def _hang_up(*connections: socket.socket) -> None:
    for connection in connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
