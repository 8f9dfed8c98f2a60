"""What a study will take before it runs: survey of its space, rehearsal of costs, forecast, checks of machines."""
