"""The settings of the first admin."""

from pydantic import Field, SecretStr

from userapi.settings import CoreSettings


class FirstAdminSettings(CoreSettings):
    """Who is made when there are no users."""

    first_admin_username: str = Field("admin", description="Username of the admin made when there are no users")
    first_admin_email: str = Field("admin@example.com", description="E-mail address of that admin")
    first_admin_password: SecretStr | None = Field(
        None, description="Password of that admin; on SQLite one is generated and shown once"
    )
