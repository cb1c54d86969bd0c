"""The disk tier: whole files only, within its budget, also after a crash and beside another process."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry_predictor.errors import LoadError
from tenantry_predictor.repositories.disk import DiskTier

LIMIT = 1 << 20


def keep(tier: DiskTier, data: bytes, tenant: str = "acme", *, evict: bool = True) -> str:
    staged = tier.stage()
    try:
        staged.write(data)
        tier.keep(tenant, staged, evict=evict)
        return staged.sha256
    finally:
        staged.discard()


def read(tier: DiskTier, sha256: str, tenant: str = "acme") -> bytes | None:
    with tier.read(tenant, sha256) as path:
        return path.read_bytes() if path is not None else None


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and path.name != "lock"]


def test_what_is_kept_can_be_read_by_its_tenant_only(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, LIMIT, LIMIT)
    sha256 = keep(tier, b"weights")
    assert sha256 == hashlib.sha256(b"weights").hexdigest()
    assert read(tier, sha256) == b"weights"
    assert read(tier, sha256, "globex") is None


def test_restart_keeps_what_is_whole(tmp_path: Path) -> None:
    first = DiskTier(tmp_path, LIMIT, LIMIT)
    sha256 = keep(first, b"weights")
    first.close()
    again = DiskTier(tmp_path, LIMIT, LIMIT)
    assert read(again, sha256) == b"weights"
    assert again.used_bytes == 7


@pytest.mark.parametrize("damage", [b"", b"weight", b"Weights", b"weights and more"])
def test_damaged_file_is_a_miss_and_goes(tmp_path: Path, damage: bytes) -> None:
    tier = DiskTier(tmp_path, LIMIT, LIMIT)
    sha256 = keep(tier, b"weights")
    [file] = files(tmp_path / "models")
    file.write_bytes(damage)
    assert read(tier, sha256) is None
    assert not file.exists()
    assert tier.used_bytes == 0
    assert read(tier, keep(tier, b"weights")) == b"weights"


def test_what_is_no_artifact_is_removed_at_start(tmp_path: Path) -> None:
    (tmp_path / "models" / "acme").mkdir(parents=True)
    (tmp_path / "models" / "acme" / "half").write_bytes(b"x")
    DiskTier(tmp_path, LIMIT, LIMIT)
    assert files(tmp_path) == []


def test_what_is_being_read_stays(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 10, LIMIT)
    sha256 = keep(tier, b"12345678")
    with tier.read("acme", sha256) as path:
        assert path is not None
        keep(tier, b"abcdefgh")
        assert path.read_bytes() == b"12345678"
    keep(tier, b"ABCDEFGH")
    assert read(tier, sha256) is None


def test_without_evicting_only_free_room_is_taken(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 10, LIMIT)
    first = keep(tier, b"123456")
    second = keep(tier, b"abcdef", evict=False)
    third = keep(tier, b"abc", evict=False)
    assert [read(tier, sha256) is not None for sha256 in (first, second, third)] == [True, False, True]


def test_larger_than_allowed_is_refused_in_mid_fetch(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, LIMIT, limit_bytes=10)
    staged = tier.stage()
    staged.write(b"12345678")
    with pytest.raises(LoadError, match="larger than 10 bytes"):
        staged.write(b"12345678")
    staged.discard()
    assert files(tmp_path) == []


def test_staged_bytes_can_be_opened_without_a_disk(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 0, LIMIT)
    staged = tier.stage()
    staged.write(b"weights")
    assert subprocess.check_output(["cat", staged.path]) == b"weights"
    tier.keep("acme", staged)
    assert not tier.holds("acme", staged.sha256)
    staged.discard()
    assert files(tmp_path) == []


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 60)), max_size=40))
def test_budget_holds_and_the_latest_stay(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    directory = tmp_path_factory.mktemp("disk")
    tier = DiskTier(directory, 100, LIMIT)
    recent: dict[str, int] = {}
    for letter, size in steps:
        data = letter.encode() * size
        sha256 = keep(tier, data)
        assert read(tier, sha256) == data
        recent.pop(sha256, None)
        recent[sha256] = size
        on_disk = {path.name: path.stat().st_size for path in files(directory)}
        assert sum(on_disk.values()) == tier.used_bytes <= 100
        total = 0
        for name, length in reversed(recent.items()):  # whatever fits, from the latest on
            total += length
            assert total > 100 or name in on_disk
    tier.close()


FETCH_FOR_EVER = """
import sys
from pathlib import Path
from tenantry_predictor.repositories.disk import DiskTier
tier = DiskTier(Path(sys.argv[1]), 1 << 30, 1 << 30)
kept = tier.stage()
kept.write(b"whole")
tier.keep("acme", kept)
kept.discard()
half = tier.stage()
half.write(b"x" * 100_000)
print("fetching", flush=True)
while True:
    half.write(b"x")
"""


def test_a_crash_in_mid_fetch_leaves_no_half_file(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", FETCH_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"fetching\n"
        # Its successor starts while it still fetches: that fetch is not swept away.
        during = DiskTier(tmp_path, LIMIT, LIMIT)
        assert len(files(tmp_path / "tmp")) == 1
        during.close()
        os.kill(process.pid, signal.SIGKILL)
    assert len(files(tmp_path / "tmp")) == 1
    after = DiskTier(tmp_path, LIMIT, LIMIT)
    assert [path.read_bytes() for path in files(tmp_path)] == [b"whole"]
    assert after.used_bytes == 5


def test_a_file_that_another_predictor_removed_is_a_miss(tmp_path: Path) -> None:
    mine, theirs = DiskTier(tmp_path, 10, LIMIT), DiskTier(tmp_path, 10, LIMIT)
    sha256 = keep(mine, b"12345678")
    theirs.close()
    third = DiskTier(tmp_path, 10, LIMIT)
    assert read(third, sha256) == b"12345678"
    keep(third, b"abcdefgh")
    assert read(mine, sha256) is None
    assert mine.used_bytes == 0


FULL_DISK = """
import sys
from pathlib import Path
from tenantry_predictor.repositories.disk import DiskTier
tier = DiskTier(Path(sys.argv[1]), 1 << 30, 1 << 30)
def keep(data):
    staged = tier.stage()
    for start in range(0, len(data), 65536):
        staged.write(data[start:start + 65536])
    tier.keep("acme", staged)
    kept = tier.holds("acme", staged.sha256)
    assert staged.path.read_bytes() == data if not kept else True
    print(kept, staged.on_disk, flush=True)
    staged.discard()
keep(b"a" * 600_000)
keep(b"b" * 600_000)   # pushes the first out: the disk is full although the budget is not
keep(b"c" * 3_000_000)  # larger than the disk: stays in memory
"""


def test_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    command = (
        f"mount -t tmpfs -o size=1m none {tmp_path} && exec {sys.executable} -c '{FULL_DISK}' {tmp_path}"
    )
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*unshare, "mount -t tmpfs none /mnt"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk without root")
    output = subprocess.check_output([*unshare, command], text=True)
    assert output.split() == ["True", "True", "True", "True", "False", "False"]
