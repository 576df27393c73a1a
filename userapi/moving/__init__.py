"""Many users at once, as operators move them in and out."""
