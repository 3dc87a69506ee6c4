"""How torch's threads wait for each other: said before torch is imported, unless the user has said it."""

import os
import subprocess
import sys

import pytest

SETTINGS = "import os, sortal.engines.torch; print(os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT'))"


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ({}, "PASSIVE 10000"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None"),
        ({"GOMP_SPINCOUNT": "5"}, "PASSIVE 5"),
    ],
)
def test_threads_spin_for_a_moment_and_then_sleep_unless_the_user_said_otherwise(said: dict[str, str], holds: str) -> None:
    inherited = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    process = subprocess.run([sys.executable, "-c", SETTINGS], env=inherited | said, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == holds


def test_saying_so_imports_no_torch() -> None:
    command = "import sys, sortal.engines.torch; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout.strip() == "False"
