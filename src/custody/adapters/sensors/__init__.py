"""What a Python process as root sees of a machine by itself: fanotify, eBPF tracepoints, proc connector, audit.

Nothing but the standard library and ctypes: no compiler, headers, kernel module or library has to be there.
"""
