"""An nginx with a configuration, in front of services."""

import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.databases import skip_without
from tests.support.processes import free_port, wait_until


@contextmanager
def nginx(server: str) -> Iterator[str]:
    """The address of an nginx with this configuration, which listens on one port; ended afterwards."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        skip_without("nginx", "there is none")
    port = free_port()
    server, replaced = re.subn(r"listen \d+;", f"listen 127.0.0.1:{port};", server)
    assert replaced == 1
    with tempfile.TemporaryDirectory(prefix="userapi_nginx_") as folder:
        paths = "".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
            f" events {{}} http {{ access_log off; {paths} {server} }}"
        )
        process = subprocess.Popen([binary, "-p", folder, "-c", str(configuration)], stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: _answers(port) or process.poll() is not None)
            assert process.poll() is None, (Path(folder) / "error.log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
