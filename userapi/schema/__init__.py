"""The schema: its revisions, and one process at a time that moves a database to the newest."""
