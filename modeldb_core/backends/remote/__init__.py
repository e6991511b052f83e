"""Stores on a server of ModelDB: ``http(s)://host``. ``docs/stores/remote.md`` says what is promised when.

``metadata.py`` and ``artifacts.py`` are the two stores, ``connection.py`` sends their requests and tries again,
``answers.py`` says what went wrong, ``address.py`` reads the URL.
"""
