"""Linux, as plain functions: the only ctypes, and the only code that knows the layout of /proc and /sys.

Each function has the name of the man page of what it calls, takes and gives plain values, and raises OSError alone.
This room is loaded into every container's init, so it loads no attrs, json, re, typing, enum, argparse, socket or
signal.
"""
