"""The warm process that workers are forked from: `python -m ...fork_server CONTROL_FD MEMORY_BYTES`.

Each message on the control socket brings one descriptor; the answer is the pid of a fork that serves it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import socket
import struct
import sys
from pathlib import Path

_PID = struct.Struct("!Q")
_PR_SET_PDEATHSIG = 1


def main(control_fd: int, memory_bytes: int) -> None:
    _die_with_parent()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))  # the predictor's; workers have one of their own
    # Imported here, before any fork, so that all workers share the pages.
    from tenantry_predictor.runtimes import readers, worker

    readers.import_installed()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the predictor ends us
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended workers need no wait
    gc.freeze()
    with socket.socket(fileno=control_fd) as control:
        while True:
            _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not descriptors:
                return
            pid = os.fork()
            if pid == 0:
                control.close()
                _limit(memory_bytes)
                worker.serve(socket.socket(fileno=descriptors[0]))
                os._exit(0)
            os.close(descriptors[0])
            control.sendall(_PID.pack(pid))


def _limit(memory_bytes: int) -> None:
    """Address space: what is mapped now, and so many bytes more."""
    _die_with_parent()
    Path("/proc/self/oom_score_adj").write_text("1000")  # where memory is short, we go before the predictor
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
