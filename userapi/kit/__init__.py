"""What knows nothing of users: the log, announcements, the database, the web's edge."""
