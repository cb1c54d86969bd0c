"""A system in the foreground of a terminal: what is up is shown, and a signal stops it in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from rich.console import Console

from tenantry import tables
from tenantry.up import LocalSystem, UpOptions

logger = logging.getLogger(__name__)


async def serve(options: UpOptions) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP. Raises StateError for what cannot be done."""
    system = LocalSystem(options)
    asked_to_stop = _on_signals()
    _log_to(system.directory.log("operator"))
    print(f"starting on {system.directory.path} ...", file=sys.stderr)
    starting = asyncio.create_task(system.start())
    with Console(stderr=True).status("waiting for router and predictors"):
        is_up = await _before(starting, asked_to_stop)
    if not is_up:
        print("stopped before it was up", file=sys.stderr)
        return
    logger.info("up at %s, on %s", system.url, system.directory.path)
    print(_summary(system), flush=True)
    waiting = asyncio.create_task(system.wait())
    try:
        await _before(waiting, asked_to_stop)
    finally:
        print("stopping; once more Ctrl-C ends it at once", file=sys.stderr)
        await system.stop()


async def _before(task: asyncio.Task[None], asked_to_stop: asyncio.Event) -> bool:
    """Whether the task ended before somebody asked to stop; else it is cancelled. Raises what it raises."""
    signal_task = asyncio.create_task(asked_to_stop.wait())
    await asyncio.wait({task, signal_task}, return_when=asyncio.FIRST_COMPLETED)
    signal_task.cancel()
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False
    task.result()
    return True


def _on_signals() -> asyncio.Event:
    """Set by the first signal. The second ends this process, and the kernel its children with it."""
    asked = asyncio.Event()

    def handle() -> None:
        if asked.is_set():
            os._exit(130)
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, handle)
    return asked


class _Brief(logging.Formatter):
    """For a terminal: the sentence alone. Where an error came from is in the file."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {record.getMessage()}"


def _log_to(file: Path) -> None:
    """Everything into the operator's log; what a person should know now on the terminal too."""
    whole = RotatingFileHandler(file, maxBytes=8 * 1024 * 1024, backupCount=1, delay=True)
    whole.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    notable = logging.StreamHandler()
    notable.setLevel(logging.WARNING)
    notable.setFormatter(_Brief())
    logging.basicConfig(level=logging.INFO, handlers=[whole, notable], force=True)
    for chatty in ("httpx", "watchfiles"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _summary(system: LocalSystem) -> str:
    url, pids = system.url, system.pids
    rows = [(role, str(pid), str(system.directory.log(role))) for role, pid in pids.items()]
    return (
        tables.render(("PART", "PID", "LOG"), rows)
        + f"\nURL     {url}  (POST {url}/predict/USER, docs at {url}/docs)"
        + f"\ngRPC    {system.grpc_address}  (Open Inference Protocol)"
        + f"\nSTATE   {system.directory.path}"
        + f"\nMODELS  {system.directory.models_prefix}"
        + "\n\nCtrl-C stops everything; the state stays."
    )
