"""The health check of the image: ends well if the server in this container answers.

The port is that of the server's settings; the path is the same below any `server.base_path`. Only the standard library is used.
"""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT_S = 4.0


def main() -> int:
    """Ask the server; return the exit status."""
    port = int(os.environ.get("MODELDB_SERVER_PORT") or 5000)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"the server does not answer: {error}\n")
        return 1
    finally:
        connection.close()
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
