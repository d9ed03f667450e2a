"""Contract suites, one for each kind of component: subclass one in pytest, and its tests hold your component."""
