"""`python -m benchmarks.often SECONDS ...`: the command `sortal ...` with a checkpoint every so many seconds.

Checkpoints are usually half a minute apart within an epoch and two seconds apart between epochs, so a run of a few seconds
writes hardly any. Here they come as often as asked, so that kills meet them at every stage. When a checkpoint is written
changes nothing else.
"""

import sys

from sortal.cli.main import main
from sortal.training import fit

if __name__ == "__main__":
    fit.SECONDS_WITHIN_EPOCH = fit.SECONDS_BETWEEN_EPOCHS = float(sys.argv.pop(1))
    sys.exit(main())
