"""What any route may ask for. What a running service has is at `app.state.services`."""

from typing import Annotated

from fastapi import Depends, Request

from userapi.kit.database import Database
from userapi.kit.web.client import Client


async def _database(request: Request) -> Database:
    database: Database = request.app.state.services.database
    return database


async def _client(request: Request) -> Client:
    return Client(request.headers.get("user-agent"), request.client.host if request.client else None)


DatabaseDep = Annotated[Database, Depends(_database)]
ClientDep = Annotated[Client, Depends(_client)]
