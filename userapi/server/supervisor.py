"""The process that starts the others: it accepts connections and gives each to the worker that has the fewest.

It imports nothing that only workers need. uvicorn's own supervisor lets workers accept from one socket, of which one
may take nearly all; ends the whole service, with exit code 0, when a worker cannot start; and cuts off connections that
wait while the last worker goes.
"""

import logging
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from userapi.kit import logs
from userapi.server import systemd
from userapi.server.listening import BACKLOG, Place, admit_no_more, listen, shown
from userapi.server.workers import Worker

SHUTDOWN_SECONDS = 15  # for requests to end, before a worker cuts them off
KILL_SECONDS = SHUTDOWN_SECONDS + 4  # for a worker to go, before it is killed
READY_SECONDS = 60  # for a successor to be ready, before the worker in its place is kept
SHORT_LIFE_SECONDS = 5  # a worker that dies younger is followed later each time
LONGEST_PAUSE = 15.0
HUNG_SECONDS = 30  # without taking a connection, before a worker is killed
AT_ONCE = 100  # connections accepted before workers are heard again

log = logging.getLogger(__name__)


def run(place: Place, command: list[str], workers: int) -> int:
    """Serve at a place with so many workers until told to stop; return the exit code.

    A worker is started by `python`, the command, and what it needs to know: see `userapi.worker`.

    Raises:
        Refusal: The place cannot be listened on.
    """
    listeners = place.bind()
    with ExitStack() as stack:
        stack.callback(place.leave, listeners)
        for listener in listeners:
            stack.enter_context(listener)
        return Supervisor(listeners, [*command, shown(listeners[0]), str(workers)], workers).run()


class Supervisor:
    """Keeps a number of workers alive until it is told to stop.

    SIGTERM and SIGINT stop it in good order, a second of them at once. SIGHUP replaces the workers, one after another,
    by new ones with the code and the settings that are there by then.
    """

    def __init__(self, listeners: list[socket.socket], command: list[str], workers: int) -> None:
        """Take bound sockets, and the command that makes a worker, without `python` and the channel."""
        self._listeners, self._command, self._wanted = listeners, command, workers
        self._workers: set[Worker] = set()
        self._outdated: deque[Worker] = deque()  # to be replaced
        self._homeless: deque[socket.socket] = deque()  # accepted, while no worker may take more
        self._selector = selectors.DefaultSelector()
        self._signals: deque[int] = deque()
        self._begun = self._accepting = self._stopping = False
        self._pause, self._next_start = 0.0, 0.0
        self._exit_code = 0

    def run(self) -> int:
        """Supervise until the end; return the exit code, which is 0 if all was done that was asked for."""
        with self._signals_heard():
            self._supervise()
        for connection in self._homeless:
            connection.close()
        return self._exit_code

    def _supervise(self) -> None:
        while self._workers or (not self._stopping and not (self._exit_code and not self._begun)):
            if not self._stopping:
                self._start_workers()
            for key, _ in self._selector.select(self._patience()):
                if isinstance(key.data, Worker):
                    self._hear(key.data)
                elif key.data:
                    key.data()
            while self._signals:
                self._handle(self._signals.popleft())
            if self._begun and not self._stopping:
                self._accept_if(self._give(AT_ONCE))
            self._look_after()

    @contextmanager
    def _signals_heard(self) -> Iterator[None]:
        """Queue signals, and wake the selector for them."""
        woken, wake = socket.socketpair()
        with woken, wake, self._selector:
            wake.setblocking(False)
            signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
            self._selector.register(woken, selectors.EVENT_READ, lambda: woken.recv(4096))
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, lambda number, _: self._signals.append(number))
            yield
            signal.set_wakeup_fd(-1)

    def _handle(self, number: int) -> None:
        if number != signal.SIGHUP and self._stopping:
            for worker in self._workers:
                worker.process.kill()
        elif number != signal.SIGHUP:
            self._stop()
        elif not self._stopping:
            log.info("replacing the workers")
            self._outdated = deque(self._serving())

    def _serving(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.retired is None]

    def _patience(self) -> float:
        """Return the seconds until something is to be done by itself."""
        waiting = self._stopping or self._outdated or self._next_start > time.monotonic()
        return 0.1 if waiting or any(worker.untaken or worker.retired for worker in self._workers) else 5.0

    def _start_workers(self) -> None:
        """Start what is missing: at first one worker, which prepares the database; the others when it is ready."""
        serving = self._serving()
        if not all(worker.ready for worker in serving) and (self._outdated or not self._begun):
            return
        if time.monotonic() < self._next_start:
            return
        if self._outdated and len(serving) >= self._wanted:
            if (old := self._outdated.popleft()) in serving:
                self._start(old)
            return
        for _ in range((self._wanted if self._begun else 1) - len(serving)):
            self._start()

    def _start(self, successor_of: Worker | None = None) -> None:
        worker = Worker([*self._command, "later" if self._begun else "first"], successor_of)
        self._workers.add(worker)
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)

    def _hear(self, worker: Worker) -> None:
        told = worker.hear()
        if told is None:
            self._mourn(worker)
            return
        for said in told:
            if "taken" in said:
                worker.took(said["taken"], said["open"])
            elif "log_format" in said:
                self._welcome(worker, said["log_format"])
            else:  # it is leaving
                self._outdated.append(worker)

    def _welcome(self, worker: Worker, log_format: logs.LogFormat) -> None:
        worker.ready = True
        if not self._begun:
            logs.configure(log_format)
            self._begin()
        if worker.successor_of is not None:
            worker.successor_of.retire()

    def _begin(self) -> None:
        """Listen: the first worker can serve."""
        self._begun = True
        listen(self._listeners)
        for listener in self._listeners:
            log.info("serving on %s", shown(listener))
        self._accept_if(True)
        systemd.notify("READY=1")

    def _mourn(self, worker: Worker) -> None:
        """Go on without a worker that has ended: its untaken connections go to others."""
        self._selector.unregister(worker.channel)
        self._workers.discard(worker)
        code = worker.bury()
        self._homeless.extend(worker.untaken)
        if worker.retired is not None:
            if code and worker.ready and self._stopping:
                self._exit_code = 1  # it was cut off
            return
        if not self._begun:
            self._exit_code = code if code > 0 else 1
            return
        log.error("worker %d ended with exit code %d", worker.process.pid, code)
        if worker.successor_of is not None and not worker.ready:
            log.error("no worker is replaced any more: those that are there go on")
            self._outdated.clear()
        now = time.monotonic()
        if now >= self._next_start:  # else this one has died together with another
            short = now - worker.begun < SHORT_LIFE_SECONDS or not worker.ready
            self._pause = min(max(self._pause * 2, 0.25), LONGEST_PAUSE) if short else 0.0
            self._next_start = now + self._pause

    def _accept_if(self, wanted: bool) -> None:
        """Begin or cease to accept connections; those that nobody accepts wait in the system's queue."""
        if wanted != self._accepting:
            self._accepting = wanted
            for listener in self._listeners:
                if wanted:
                    self._selector.register(listener, selectors.EVENT_READ, lambda: None)
                else:
                    self._selector.unregister(listener)

    def _give(self, most: int) -> bool:
        """Give each connection to the worker that has the fewest; tell whether they may take more."""
        able = [worker for worker in self._workers if worker.may_take]
        for connection in self._come(most) if able else ():
            worker = min(able, key=lambda worker: (worker.load, worker.given))
            worker.give(connection)
            if not worker.may_take:
                able.remove(worker)
                if not able:
                    break
        return bool(able)

    def _come(self, most: int) -> Iterator[socket.socket]:
        """Yield connections, those first that have waited, and of each listener so many new ones."""
        while self._homeless:
            yield self._homeless.popleft()
        for listener in self._listeners:
            for _ in range(most):
                try:
                    yield listener.accept()[0]
                except OSError:  # none is there, it has gone again, or there are too many open files
                    break

    def _look_after(self) -> None:
        """Kill workers that have hung, and such as take too long to begin or to end."""
        now = time.monotonic()
        for worker in self._workers:
            late = worker.successor_of is not None and not worker.ready and now - worker.begun > READY_SECONDS
            stays = worker.retired is not None and now - worker.retired > KILL_SECONDS
            if late or stays or worker.hangs(HUNG_SECONDS):
                worker.process.kill()

    def _stop(self) -> None:
        """Take what has come, close the door, and let the workers finish."""
        admit_no_more(self._listeners)
        systemd.notify("STOPPING=1")
        self._stopping = True
        self._accept_if(False)
        if self._begun:
            log.info("shutting down")
            self._give(BACKLOG)
        for listener in self._listeners:
            listener.close()
        for worker in self._workers:
            worker.retire()
