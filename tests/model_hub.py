"""A small Hugging Face hub on this machine that takes whole models and gives them back."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

LARGE = 1_000  # bytes from which on a file goes to the store


class ModelHub(ThreadingHTTPServer):
    """Repositories that are made, filled by commits and read, as huggingface.co does it.

    Attributes:
        repositories: the files of each, by name.
        store: large files by SHA-256.
        commits: how many there were; the last one's number is every file's commit.
        token: without which nothing is written.
        asked: every request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.store: dict[str, bytes] = {}
        self.commits = 0
        self.token = "hf_secret"
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def commit(self) -> str:
        return f"{self.commits:040x}"


class Answer(BaseHTTPRequestHandler):
    server: ModelHub

    def do_HEAD(self) -> None:
        self.answer_file()

    def do_GET(self) -> None:
        self.answer_file()

    def do_PUT(self) -> None:
        content = self.content()
        self.server.store[hashlib.sha256(content).hexdigest()] = content
        self.say({})

    def do_POST(self) -> None:
        self.server.asked.append(f"POST {self.path}")
        if self.headers.get("Authorization") != f"Bearer {self.server.token}" and "lfs" not in self.path:
            self.say({"error": "Invalid username or password."}, status=401)
        elif self.path == "/api/repos/create":
            asked = json.loads(self.content())
            name = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
            known = name in self.server.repositories
            self.server.repositories.setdefault(name, {})
            self.say({"url": f"{self.server.address}/{name}"}, status=409 if known else 200)
        elif self.path == "/api/validate-yaml":
            self.say({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = json.loads(self.content())["files"]
            told = [
                {"path": f["path"], "uploadMode": "lfs" if f["size"] >= LARGE else "regular", "shouldIgnore": False}
                for f in files
            ]
            self.say({"files": told, "commitOid": self.server.commit})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(self.content())["objects"]
            upload = {"upload": {"href": f"{self.server.address}/upload"}}
            self.say({"transfer": "basic", "objects": [{**each, "actions": upload} for each in objects]})
        elif "/commit/" in self.path:
            self.take_commit()
        else:
            self.say({"error": self.path}, status=404)

    def take_commit(self) -> None:
        name = re.fullmatch(r"/api/models/(.+)/commit/\w+", unquote(self.path)).group(1)
        files = self.server.repositories[name]
        for line in self.content().splitlines():
            each = json.loads(line)
            if each["key"] == "file":
                files[each["value"]["path"]] = base64.b64decode(each["value"]["content"])
            elif each["key"] == "lfsFile":
                files[each["value"]["path"]] = self.server.store[each["value"]["oid"]]
        self.server.commits += 1
        url = f"{self.server.address}/{name}/commit/{self.server.commit}"
        self.say({"success": True, "commitOid": self.server.commit, "commitUrl": url, "hookOutput": ""})

    def answer_file(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", unquote(self.path))
        info = re.fullmatch(r"/api/models/([^/]+/[^/]+?)(/revision/[^/]+)?(\?.*)?", unquote(self.path))
        if info and info.group(1) in self.server.repositories:
            self.say({"id": info.group(1), "sha": self.server.commit, "siblings": []})
            return
        files = self.server.repositories.get(found.group(1)) if found else None
        if files is None:
            self.say({}, status=401, headers={"X-Error-Code": "RepoNotFound"})
        elif found.group(2) not in ("main", self.server.commit):
            self.say({}, status=404, headers={"X-Error-Code": "RevisionNotFound"})
        elif found.group(3) not in files:
            self.say({}, status=404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.server.commit})
        else:
            content = files[found.group(3)]
            facts = {"X-Repo-Commit": self.server.commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
            self.say(content, headers=facts)

    def content(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def say(self, answer: dict | bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Connection": "close", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass
