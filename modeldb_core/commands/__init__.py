"""The operations of the domain: each is one function that takes arguments and returns what is to be changed.

What a function returns is an :class:`~modeldb_core.commands.operation.Operation`: changes, and the conditions under which
they are made. Two executors carry it out. The *journal* takes the changes of a training program, waits for nobody and knows no
conditions (``Client.execute``). *Direct* applies them under their conditions and returns when they are durable
(:func:`~modeldb_core.commands.operation.execute`): the server and the command line. So a rule, such as what may be a name, stands
here once, and every way in has it.

May import: ``plugins``, ``config``, ``movement``, ``stores`` and below. Begin with ``operation.py``, then ``runs.py``.
"""
