"""Who may ask, how much and from where: keys, limits, throttling."""
