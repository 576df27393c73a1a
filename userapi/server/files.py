"""How many connections a process may have: each is an open file, and the system limits those."""

import sys

_MOST = 10_000
_WINDOWS = 400  # of the 512 that its select() knows
KEPT_FREE = 128  # for the database, logs, and what is accepted before older ones have gone


def connection_limit() -> int:
    """Raise the soft limit of open files as far as the system lets us, and return the bound on connections below it."""
    if sys.platform == "win32":
        return _WINDOWS
    import resource  # noqa: PLC0415  # there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST + KEPT_FREE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    open_files = wanted if soft == resource.RLIM_INFINITY else soft
    return min(_MOST, max(open_files - KEPT_FREE, open_files // 2))
