"""Measure the latency of whole networks on a device: the runtimes, interleaved rounds, and a profile of what was measured."""
