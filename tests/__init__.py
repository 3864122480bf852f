"""The tests. A package, so that `from tests.leaks import ...` finds no other package of that name on the path."""
