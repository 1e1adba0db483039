"""The same as the command evtools: python -m evtools."""

import sys

from evtools.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
