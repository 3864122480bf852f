"""`python -m libcontainer_py`."""

from libcontainer_py.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
