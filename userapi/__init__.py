"""userapi: user accounts, login and administration as a REST service."""

__version__ = "1.1.0"
