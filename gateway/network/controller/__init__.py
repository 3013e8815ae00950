"""The controller: the view of the whole network, the plan that follows from it, and who writes it."""
