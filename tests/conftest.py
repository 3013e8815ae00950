"""For all tests."""

import signal

# A shell that starts something in the background has it ignore SIGINT, and whoever inherits that is deaf to Ctrl-C
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
