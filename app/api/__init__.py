"""HTTP in, HTTP out: routes, bodies, answers, problems."""
