# Serves one git repository over HTTP to those who know the password: REPO_USER and
# REPO_PASSWORD. It makes the repository itself, with one commit on main.
import base64
import http.server
import os
import subprocess

ROOT = "/srv"
expected = "Basic " + base64.b64encode(f"{os.environ['REPO_USER']}:{os.environ['REPO_PASSWORD']}".encode()).decode()
plain = {k: v for k, v in os.environ.items() if not k.startswith("REPO_")}
plain |= {"HOME": ROOT, "GIT_AUTHOR_NAME": "e2e", "GIT_AUTHOR_EMAIL": "e2e@example.com"}
plain |= {"GIT_COMMITTER_NAME": "e2e", "GIT_COMMITTER_EMAIL": "e2e@example.com"}


def make_repository():
    script = """
    git init --quiet --initial-branch=main work && cd work
    echo 'Kept under lock and key.' > treasure && git add . && git commit --quiet --message='Hide the treasure'
    git tag v1 && git clone --quiet --bare . ../locked.git && git -C ../locked.git config http.receivepack true
    """
    subprocess.run(["bash", "-ec", script], cwd=ROOT, env=plain, check=True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        if self.path == "/healthz":
            self.send_response(200)
            self.end_headers()
            return
        if self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="e2e"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        env = plain | {
            "GIT_PROJECT_ROOT": ROOT, "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query,
            "REQUEST_METHOD": self.command, "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)), "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        out = subprocess.run(["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE, check=True).stdout
        head, _, content = out.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((v for k, v in fields if k.lower() == "status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for k, v in fields:
            if k.lower() != "status":
                self.send_header(k, v)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET


make_repository()
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
