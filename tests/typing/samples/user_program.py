"""A program as a user would write it, without a single annotation for the library's sake: strict checkers accept it."""

from __future__ import annotations

import sys

import libcontainer_py
from libcontainer_py import ContainerError, Factory, IllegalOperation, Status


def report(factory: Factory) -> dict[str, Status]:
    return {container.id: container.status for container in factory.list(on_error=print)}


def run_to_the_end(factory: Factory, bundle: str, *, seconds: float) -> int:
    with factory.create("job", bundle, stdin=libcontainer_py.DEVNULL) as container:
        container.start()
        try:
            ended = container.wait(seconds)
        except libcontainer_py.ContainerTimeout:
            container.kill()
            ended = container.wait()
    return ended.exit_code if ended.exit_code is not None else 1


def main() -> int:
    greeting = libcontainer_py.run(["echo", "hello"])
    sys.stdout.buffer.write(greeting.stdout)
    factory = Factory("/run/jobs")
    try:
        code = run_to_the_end(factory, sys.argv[1], seconds=10)
    except IllegalOperation as error:
        print(f"{error.operation} is not possible now: {error.status}", file=sys.stderr)
        return 1
    except ContainerError as error:
        print(error, file=sys.stderr)
        return 1
    for left in factory.sweep():
        print(left.id, left.reason)
    print(report(factory))
    return code


if __name__ == "__main__":
    sys.exit(main())
