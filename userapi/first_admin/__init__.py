"""The first admin, made when there are no users."""
