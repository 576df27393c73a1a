"""userapi: user accounts, login and administration as a REST service."""
