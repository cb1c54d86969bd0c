"""The one certificate that has to be made: by it kubelets know the API server."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cluster.errors import StartError

_SECONDS = 20.0


def client_certificate(directory: Path, user: str, group: str) -> tuple[Path, Path]:
    """Makes a certificate for the user, signed by itself, and its key; gives the paths of both."""
    certificate, key = directory / f"{user}.crt", directory / f"{user}.key"
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    subject = ["-subj", f"/O={group}/CN={user}", "-addext", "extendedKeyUsage=clientAuth", "-days", "30"]
    command = ["openssl", "req", "-x509", *new_key, *subject, "-out", str(certificate), "-keyout", str(key)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if answer.returncode != 0:
        raise StartError(f"openssl could not make a certificate: {answer.stderr.strip()}")
    return certificate, key
