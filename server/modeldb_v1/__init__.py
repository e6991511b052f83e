"""The ModelDB v1 API: what the original server answered, on the commands and stores of this one.

``schema/`` holds every message, service and call as data; ``calls.py`` is the table of what answers them. Clients reach
them over HTTP (``http.py``). The modules beside it are the answers, a module for each service.
"""
