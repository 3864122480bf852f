"""What the weights of cgroup v1 are on v2, where they have other ranges. Pure arithmetic.

Source: cgroup-v2.rst, CPU and IO interface files; opencontainers/cgroups, ConvertCPUSharesToCgroupV2Value and
ConvertBlkIOToIOWeightValue, so that every runtime turns the same number into the same share.
"""

import math


def cpu_weight(shares: int) -> int:
    """cpu.weight (1 to 10000, usually 100) for cpu.shares (2 to 262144, usually 1024); 0: unset.

    A quadratic function of the logarithm that goes through least, usual and most, as runc 1.5 has it.
    """
    if shares <= 0:
        return 0
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def io_weight(weight: int) -> int:
    """io.weight (1 to 10000) for blkio.weight (10 to 1000), on a straight line; 0: unset."""
    return 0 if weight <= 0 else 1 + max(0, weight - 10) * 9999 // 990
