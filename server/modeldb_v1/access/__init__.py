"""The user-access services: users, organizations, teams, roles, collaborators, and who may do what.

They tell and alter what the server knows of people (``modeldb_server.accounts``): an organization is a workspace that is
not the personal workspace of a user, a role binding is a role that somebody has on a workspace or project. Begin with ``people.py``, which the others ask.
"""
