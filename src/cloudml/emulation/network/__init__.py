"""The network of an emulation: real host names lead to the emulators, and to nothing else.

Two strengths. *Proxy*: variables lead clients to a proxy on the loopback and make them trust its authority; who ignores
them reaches the real network. *Isolated*: the program has a network namespace of its own, in which only emulated hosts
exist; its sockets are handed to the same proxy.
"""
