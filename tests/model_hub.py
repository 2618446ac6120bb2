"""A small Hugging Face hub on this machine that takes whole models and gives them back."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

from hub_server import Answer, LocalServer

LARGE = 1_000  # bytes from which on a file goes to the store


class ModelHub(LocalServer):
    """Repositories that are made, filled by commits and read, as huggingface.co does it.

    Attributes:
        repositories: the files of each, by name.
        store: large files by SHA-256.
        commits: how many there were; the last one's number is every file's commit.
        token: without which nothing is written.
        asked: every request.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.store: dict[str, bytes] = {}
        self.commits = 0
        self.token = "hf_secret"
        super().__init__(Repositories)

    @property
    def commit(self) -> str:
        return f"{self.commits:040x}"


class Repositories(Answer, BaseHTTPRequestHandler):
    server: ModelHub

    def do_HEAD(self) -> None:
        self.answer_file()

    def do_GET(self) -> None:
        self.answer_file()

    def do_PUT(self) -> None:
        content = self.content()
        self.server.store[hashlib.sha256(content).hexdigest()] = content
        self.give({})

    def do_POST(self) -> None:
        self.server.asked.append(f"POST {self.path}")
        if self.headers.get("Authorization") != f"Bearer {self.server.token}" and "lfs" not in self.path:
            self.give({"error": "Invalid username or password."}, status=401)
        elif self.path == "/api/repos/create":
            asked = json.loads(self.content())
            name = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
            known = name in self.server.repositories
            self.server.repositories.setdefault(name, {})
            self.give({"url": f"{self.server.address}/{name}"}, status=409 if known else 200)
        elif self.path == "/api/validate-yaml":
            self.give({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = json.loads(self.content())["files"]
            told = [
                {"path": f["path"], "uploadMode": "lfs" if f["size"] >= LARGE else "regular", "shouldIgnore": False}
                for f in files
            ]
            self.give({"files": told, "commitOid": self.server.commit})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(self.content())["objects"]
            upload = {"upload": {"href": f"{self.server.address}/upload"}}
            self.give({"transfer": "basic", "objects": [{**each, "actions": upload} for each in objects]})
        elif "/commit/" in self.path:
            self.take_commit()
        else:
            self.give({"error": self.path}, status=404)

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
        self.give({"success": True, "commitOid": self.server.commit, "commitUrl": url, "hookOutput": ""})

    def answer_file(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", unquote(self.path))
        info = re.fullmatch(r"/api/models/([^/]+/[^/]+?)(/revision/[^/]+)?(\?.*)?", unquote(self.path))
        if info and info.group(1) in self.server.repositories:
            self.give({"id": info.group(1), "sha": self.server.commit, "siblings": []})
            return
        files = self.server.repositories.get(found.group(1)) if found else None
        if files is None:
            self.give({}, status=401, headers={"X-Error-Code": "RepoNotFound"})
        elif found.group(2) not in ("main", self.server.commit):
            self.give({}, status=404, headers={"X-Error-Code": "RevisionNotFound"})
        elif found.group(3) not in files:
            self.give({}, status=404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.server.commit})
        else:
            content = files[found.group(3)]
            facts = {"X-Repo-Commit": self.server.commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
            self.say(200, facts, content)

    def content(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def give(self, answer: dict, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """JSON."""
        self.say(status, headers or {}, json.dumps(answer).encode())
