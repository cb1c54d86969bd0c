"""An S3 server on the loopback address, over a folder of its own."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path

from cluster import programs
from cluster.binaries import require
from cluster.ports import LOOPBACK, free_ports, is_listening
from cluster.processes import Process
from cluster.scope import Scope

_START_SECONDS = 60.0
_REGION = "us-east-1"


class S3Server(Scope):
    """versitygw with random keys. What is stored outlives `stop`, and goes with the context."""

    def __init__(self) -> None:
        self.access_key = secrets.token_hex(8)
        self.secret_key = secrets.token_hex(16)
        [self._port] = free_ports(1)

    def _enter(self, stack: ExitStack) -> None:
        directory = tempfile.TemporaryDirectory(prefix="tenantry-s3-", ignore_cleanup_errors=True)
        self._process = self._create_process(Path(stack.enter_context(directory)))
        stack.callback(self.stop)
        self.start()

    @property
    def endpoint_url(self) -> str:
        """Where it serves; the same after `stop` and `start`."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def client_arguments(self) -> dict[str, str]:
        """The keyword arguments of `boto3.client("s3", ...)`."""
        return {
            "endpoint_url": self.endpoint_url,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "region_name": _REGION,
        }

    def start(self) -> None:
        """Starts serving and waits until connections are taken."""
        self._process.start()
        self._process.wait_until(lambda: is_listening(self._port), _START_SECONDS)

    def stop(self) -> None:
        """Refuses every connection from now on."""
        self._process.stop()

    def pause(self) -> None:
        """Hangs: connections are taken, nothing is answered."""
        self._process.pause()

    def resume(self) -> None:
        """Answers again, also what was asked during the pause."""
        self._process.resume()

    def _create_process(self, directory: Path) -> Process:
        data, metadata = directory / "data", directory / "metadata"
        data.mkdir()
        metadata.mkdir()
        # Metadata beside the data, because not every file system has the extended attributes it would use.
        storage = ["posix", f"--sidecar={metadata}", str(data)]
        command = [str(require(programs.VERSITYGW)), f"--port={LOOPBACK}:{self._port}", f"--region={_REGION}"]
        return Process(
            [*command, *storage],
            directory / "versitygw.log",
            ROOT_ACCESS_KEY=self.access_key,
            ROOT_SECRET_KEY=self.secret_key,
        )
