"""The service over HTTP: routes, limits, schemas. Starlette and uvicorn are used here alone."""
