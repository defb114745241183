"""The latency of SE on a person's device: a profile, and what it predicts. `se_nas.profiling` measures one."""
