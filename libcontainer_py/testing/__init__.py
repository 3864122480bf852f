"""For whoever tests on top of this library: backends that play along, and machines that hold a backend to a model.

`libcontainer_py.MemoryBackend` needs nothing; `testing.machine` needs Hypothesis (the extra `test`).
"""
