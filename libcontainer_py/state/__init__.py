"""The state directory: who may work on a container, what is written down of it, and the fifo that starts it."""
