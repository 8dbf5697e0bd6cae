"""Follows a repository over loopback HTTP with PyPI `tuf`'s ngclient.

ngclient.py PUBLIC METADATA_DIR DOWNLOAD_DIR ROOT [TARGET ...]: serves PUBLIC, refreshes, downloads
every TARGET, prints one line for each: its path and SHA-256.
"""

import functools
import hashlib
import http.server
import os
import sys
import threading

from tuf.ngclient import Updater


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


public, metadata, downloads, root, *targets = sys.argv[1:]
os.makedirs(metadata, exist_ok=True)
os.makedirs(downloads, exist_ok=True)
server = http.server.ThreadingHTTPServer(
    ("127.0.0.1", 0), functools.partial(Quiet, directory=public)
)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"
with open(root, "rb") as file:
    bootstrap = file.read()
updater = Updater(
    metadata_dir=metadata,
    metadata_base_url=f"{base}/metadata/",
    target_dir=downloads,
    target_base_url=f"{base}/targets/",
    bootstrap=bootstrap,
)
updater.refresh()
for target in targets:
    info = updater.get_targetinfo(target)
    if info is None:
        sys.exit(f"no trusted role lists {target}")
    path = updater.download_target(info)
    with open(path, "rb") as file:
        print(target, hashlib.sha256(file.read()).hexdigest())
server.shutdown()
