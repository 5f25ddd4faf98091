"""A bare Flask: what the kit answers to `/ping` and `/`, and nothing around it."""

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/ping")
def ping() -> Response:
    return jsonify(ping="pong")


@app.get("/")
def index() -> Response:
    links = {"users": "/api/users", "ping": "/ping", "version": "/version"}
    return jsonify(name="flask", version="0.1.0", links=links)
