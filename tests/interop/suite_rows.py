"""What runc 1.1.5 and crun 1.8.1 do not do of the suite for backends: a test, or one of its cases, to the reason.

Each must fail, and all others must pass. docs/conformance.md says the same in its section on the suite.
"""

from __future__ import annotations

EXIT_CODE = "exec ends with 128 + n where a signal ended the process, so the two cannot be told apart"
POSTSTART = "poststart hooks run at create"
START_HOOK = "start returns before the startContainer hooks ran, and does not tell that one failed"
POSTSTOP = "a poststop hook that fails is not told by delete"

RUNC = {
    "test_a_further_program": EXIT_CODE,
    "test_it_ends_with_init": EXIT_CODE,
    "test_in_their_order": POSTSTART,
    "test_one_that_fails_at_start[startContainer]": START_HOOK,
    "test_one_that_fails_at_start[poststart]": POSTSTART,
    "test_a_poststop_hook_that_fails": POSTSTOP,
    "test_an_id_that_cannot_be_one[long]": "ids have up to 1024 characters, and a directory's name 255",
}

NOT_CHECKED = "ids are not checked: the name of a directory decides"
OTHER_WORDS = "other words than runc's: engines that match on those need both"
PAUSED_AT_FIFO = "a container that is paused before its start still reads created: it can be started, and not resumed"

CRUN = {
    "test_a_further_program": EXIT_CODE,
    "test_it_ends_with_init": EXIT_CODE,
    "test_one_that_fails_at_start[startContainer]": START_HOOK,
    "test_one_that_fails_at_start[poststart]": "a poststart hook that fails is no failure of start",
    "test_one_that_fails_at_create": "after a failed hook at create no poststop hook runs",
    "test_its_environment_and_directory": "exec with --env has a PATH of crun's, not that of the configuration",
    "test_a_poststop_hook_that_fails": POSTSTOP,
    "test_an_id_that_cannot_be_one": NOT_CHECKED,
    "test_one_that_waits_to_be_started": "init has no handlers before the program runs, so the kernel drops signals",
    "test_one_that_runs": OTHER_WORDS,
    "test_by_another_handle": OTHER_WORDS,
    "test_one_whose_init_died": OTHER_WORDS,
    "test_the_table[delete-running]": OTHER_WORDS,
    "test_the_table[delete-paused]": OTHER_WORDS,
    "test_the_table[start-running]": OTHER_WORDS,
    "test_the_table[start-stopped]": OTHER_WORDS,
    "test_the_table[start-paused]": OTHER_WORDS,
    "test_the_table[pause-created]": PAUSED_AT_FIFO,
    "test_one_paused_while_created_is_created_again": PAUSED_AT_FIFO,
    "test_start_of_a_paused_one": PAUSED_AT_FIFO,
    "test_init_keeps_its_pid": PAUSED_AT_FIFO,
}
