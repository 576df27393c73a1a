"""What every route and every answer shares."""
