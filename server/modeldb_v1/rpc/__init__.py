"""gRPC: the calls of the v1 API on a port of their own, answered by the application that answers HTTP.

A gRPC call becomes a request of the application (``requests.py``), so what guards HTTP guards gRPC: who asks, their scope,
limits, records of access. ``routes.py`` answers it there; ``server.py`` listens; ``health.py`` and ``reflection.py`` are the
two services that gRPC has beside. ``docs/grpc.md`` is for those who call it. A server that answers no gRPC imports
``requests.py`` and ``routes.py`` only, which need no ``grpcio``.
"""
