"""Planning a study: survey of its space, rehearsal of costs, forecast and checks of machines."""
