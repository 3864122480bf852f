"""The tests. A package, so that no other package of that name on the path is taken for it: `from tests.leaks import ...`."""
