"""The routes: one short function an endpoint; the rules are in `accounts`, `sessions` and `listing`."""

from typing import Any

from fastapi import APIRouter


def router(**options: Any) -> APIRouter:
    """A router whose operations are named, in the OpenAPI document, like their functions."""
    return APIRouter(generate_unique_id_function=lambda route: route.name, **options)
