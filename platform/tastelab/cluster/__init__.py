"""Ray: the only home of `ray.train` and `ray.tune`, and all that is said to a cluster."""
