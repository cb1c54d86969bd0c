"""The entry of the command `tenantry`: errors become sentences and exit codes here."""

from __future__ import annotations

import os
import sys


def run() -> None:
    """0: done; 1: refused or failed; 2: misused; 130: interrupted."""
    try:
        from tenantry.app import app
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error}: the command needs more than the base install: pip install 'tenantry[all]'")
    from tenantry.errors import CommandError
    from tenantry_operator.local.directory import StateError

    try:
        app()
    except CommandError as error:
        sys.exit(str(error))
    except StateError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Who read our output has enough; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    run()
