"""Activity: what `events` has written down is read, by whom it is about, by admins and by the operator."""
