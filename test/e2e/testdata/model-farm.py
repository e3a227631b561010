# A farm of models: http://HOST:8080/KIND/v1 is served by a model, or a server, of that
# kind. They know the conversation of a probe. Those of the kind keyed want MODEL_API_KEY.
import http.server
import json
import os
import re
import time


def find(box):
    return {"name": "find_key", "arguments": json.dumps({"box": box})}


def open_box(box, key):
    return {"name": "open_box", "arguments": json.dumps({"box": box, "key": key})}


def good(asked):
    """Does all that it is asked to: (text, call)."""
    last = asked["messages"][-1]["content"] or ""
    if not asked.get("tools"):
        return "one\n" * 8, None
    if m := re.search(r"is the word (\w+)", last):
        return m[1], None
    if m := re.search(r"The next box is the (\w+) one, and its key is (\w+)", last):
        return "", open_box(m[1], m[2])
    if m := re.search(r"The key of the (\w+) box is (\w+)", last):
        return "", open_box(m[1], m[2])
    if m := re.search(r"word in the (\w+) box|key of the (\w+) box with", last):
        return "", find(m[1] or m[2])
    return "Done.", None


def lying(asked):
    if "The key of the" in (asked["messages"][-1]["content"] or ""):
        return "I opened the box. The word is: sesame", None
    return good(asked)


def markup(asked):
    text, call = good(asked)
    if call:
        text = '<tool_call>\n{"name": "%s", "arguments": %s}\n</tool_call>' % (call["name"], call["arguments"])
    return text, None


def talking(asked):
    return "\x1b[2JSure! First I would find the key.", None


TALKERS = {"good": good, "keyed": good, "expensive": good, "lying": lying, "markup": markup, "talking": talking}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        kind = self.path.split("/")[1]
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        if kind == "keyed" and self.headers.get("Authorization") != "Bearer " + os.environ["MODEL_API_KEY"]:
            kind = "locked"
        if kind in TALKERS:
            self.say(asked, *TALKERS[kind](asked))
        elif kind == "slow":
            time.sleep(120)
        elif kind == "busy":
            self.refuse(429, "Rate limit reached", "3600")
        elif kind == "locked":
            self.refuse(401, "Incorrect API key provided")
        elif kind == "missing":
            self.refuse(404, "The model does not exist")
        elif kind == "shape":
            self.start("text/html")
            self.wfile.write(b"<html>Welcome</html>")
        elif kind == "truncating":
            self.start("text/event-stream")
            self.event({"choices": [{"index": 0, "delta": {"content": "I will"}}]})

    def start(self, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def event(self, data):
        self.wfile.write(b"data: " + json.dumps(data).encode() + b"\n\n")

    def refuse(self, status, words, after=None):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if after:
            self.send_header("Retry-After", after)
        self.end_headers()
        self.wfile.write(json.dumps({"error": {"message": words}}).encode())

    def say(self, asked, text, call):
        delta = {"role": "assistant", "content": text}
        if call:
            delta["tool_calls"] = [{"index": 0, "id": "call_%d" % len(asked["messages"]), "type": "function", "function": call}]
        self.start("text/event-stream")
        self.event({"model": asked["model"], "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        self.event({"model": asked["model"], "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if call else "stop"}]})
        self.event({"model": asked["model"], "choices": [], "usage": {"prompt_tokens": 500, "completion_tokens": 20}})
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Handler).serve_forever()
