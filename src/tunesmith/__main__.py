"""The command line, as `tunesmith` and as `python -m tunesmith`; it takes seconds until it can be asked anything."""

from __future__ import annotations

import sys

try:
    from tunesmith.cli import main
except KeyboardInterrupt:
    sys.stderr.write("Stopped.\n")
    sys.exit(130)

if __name__ == "__main__":
    main()
