"""Runs cases and prints a row for each: `ok NAME` or `FAILED NAME: why`."""
import sys


def run(cases):
    failed = 0
    for name, case in cases:
        try:
            case()
            print("ok", name)
        except Exception as error:  # Whatever goes wrong is the row's result.
            failed += 1
            print(f"FAILED {name}: {type(error).__name__} {error}".replace("\n", " ")[:400])
        sys.stdout.flush()
    # The rows tell; the exit code is for what no row can tell.
    return failed


def equal(got, wanted):
    if got != wanted:
        raise AssertionError(f"{str(got)[:150]} is not {str(wanted)[:150]}")
