"""Fails if the document that `cauce serve --http` describes itself with is not valid OpenAPI, or if an answer is not as it says.

Usage: openapi.py PATH_OF_CAUCE
"""

import json
import subprocess
import sys
import urllib.error
import urllib.request

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate


def ask(url: str, body: object = None) -> tuple[int, object]:
    """The status and the JSON of an answer; a POST if there is a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


# What is asked, in order: the path of the document, that of the request, its body.
QUESTIONS = [
    ("/health", "/health", None),
    ("/v1/queues", "/v1/queues", {"name": "jobs"}),
    ("/v1/queues", "/v1/queues", None),
    ("/v1/queues", "/v1/queues", {"name": "jobs"}),
    ("/v1/queues/{queue}", "/v1/queues/jobs", None),
    ("/v1/queues/{queue}/messages", "/v1/queues/jobs/messages", {"message": "a"}),
    ("/v1/queues/{queue}/messages/batch", "/v1/queues/jobs/messages/batch", {"messages": ["b", "c"]}),
    ("/v1/queues/{queue}/receive", "/v1/queues/jobs/receive?count=2", {}),
    ("/v1/queues/{queue}/pop", "/v1/queues/jobs/pop", {}),
    ("/v1/streams/{stream}/entries", "/v1/streams/s/entries", {"fields": {"a": "1"}}),
    ("/v1/streams/{stream}/entries", "/v1/streams/s/entries", {"action": "a", "data": {"n": 1}}),
    ("/v1/streams/{stream}/entries", "/v1/streams/s/entries", {}),
    ("/v1/streams/{stream}/entries", "/v1/streams/s/entries", None),
    ("/v1/channels/{channel}/messages", "/v1/channels/c/messages", {"message": "a"}),
]


def check_answer(document: dict, url: str, path: str, asked: str, body: object) -> None:
    """Compares one answer with the schema that the document has for it."""
    status, answer = ask(url + asked, body)
    responses = document["paths"][path]["get" if body is None else "post"]["responses"]
    response = responses.get(str(status), responses["default"])
    [media] = response["content"].values()
    Draft202012Validator({**media["schema"], "components": document["components"]}).validate(answer)
    print(f"{status} {asked}: as described")


def main(cauce: str) -> None:
    command = [cauce, "serve", "--memory", "--port", "0", "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            server.stdout.readline()
            url = server.stdout.readline().split("HTTP API on ")[1].split(",")[0]
            _, document = ask(url + "/v1/openapi.json")
            validate(document)
            print(f"OpenAPI {document['openapi']}, {len(document['paths'])} paths: valid")
            for path, asked, body in QUESTIONS:
                check_answer(document, url, path, asked, body)
        finally:
            server.terminate()
            # It says good-bye, and must find somebody who listens.
            server.stdout.read()


if __name__ == "__main__":
    main(sys.argv[1])
