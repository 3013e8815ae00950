"""The configuration by HTTP, over a real server and a real daemon: statuses, shapes, schemas."""

import asyncio
import io
from contextlib import asynccontextmanager

import aiohttp
import jsonschema
import pytest
import uvicorn
from starlette.applications import Starlette

from gateway.editing.routes import ENDPOINTS, routes

MORE = "uplinks: {more: {type: file, path: %s/more}}\npipelines: {two: {from: ['**'], to: [more]}}\n"


@asynccontextmanager
async def served(running):
    """A client of the routes alone."""
    config = uvicorn.Config(Starlette(routes=routes(running)), port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    task = asyncio.create_task(server.serve(), name="http")
    while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        server.should_exit = True
        await task


async def call(client, method, path, status=200, **body):
    """The answer, which must be what the table says."""
    async with client.request(method, path, json=body or None) as response:
        answer = await response.json()
        assert response.status == status, answer
    if status == 200:
        endpoint = next(one for one in ENDPOINTS if one.path == path.partition("?")[0] and one.method == method)
        jsonschema.validate(answer, strict(endpoint.answer))
    else:
        assert "\n" not in answer["error"]
    return answer


def strict(schema):
    """The same, in which every property must be there (but those of a list of versions in one case)."""
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if "properties" in schema:
        closed["properties"] = {key: strict(value) for key, value in schema["properties"].items()}
        optional = {"unconfirmed"}
        closed |= {"required": sorted(schema["properties"].keys() - optional), "additionalProperties": False}
    return closed


async def test_the_whole_way(folder, a_gateway, tmp_path):
    async with a_gateway(folder) as running, served(running) as client:
        shown = await call(client, "GET", "/api/config")
        files = [*shown["files"], {"name": "c.yaml", "text": MORE % tmp_path}]
        assert (await call(client, "POST", "/api/config/check", files=files))["problems"] == []
        found = await call(client, "POST", "/api/config/diff", files=files)
        assert found["changes"]["uplinks"]["added"] == ["more"]
        done = await call(client, "POST", "/api/config/apply", files=files, base=shown["base"], comment="more")
        assert done["version"] == 2
        assert "more" in running.uplinks
        (newest, first) = await call(client, "GET", "/api/config/versions")
        assert (newest["version"], newest["comment"], newest["by"], newest["running"]) == (2, "more", "console", True)
        former = await call(client, "GET", f"/api/config/version?version={first['version']}")
        assert former["files"] == shown["files"]
        back = await call(client, "POST", "/api/config/rollback", version=1, confirm_s=600)
        assert back["unconfirmed"]["version"] == 3
        assert (await call(client, "POST", "/api/config/confirm", keep=False)) == {"version": 4, "kept": False}
        assert "more" in running.uplinks
        assert (await call(client, "GET", "/api/config/schema"))["title"] == "onpath configuration"


async def test_effective_with_origins_and_without_secrets(folder, a_gateway, tmp_path):
    (tmp_path / "pw").write_text("tOpsEcret\n")
    (folder / "c.yaml").write_text(
        "uplinks:\n  cloud: {type: mqtt, url: 'mqtt://${HOST}:1', username: u, password: '${credential:pw}'}\n"
    )
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path), "HOST": "127.0.0.1"}
    async with a_gateway(folder, env) as running, served(running) as client:
        found = await call(client, "GET", "/api/config/effective?path=uplinks.cloud&defaults=false")
        assert {row["path"]: (row["value"], row["origin"], row["kind"]) for row in found["rows"]} == {
            "uplinks.cloud.type": ("mqtt", "c.yaml:2:17", "file"),
            "uplinks.cloud.url": ("mqtt://127.0.0.1:1", "variable HOST (c.yaml:2:28)", "variable"),
            "uplinks.cloud.username": ("u", "c.yaml:2:58", "file"),
            "uplinks.cloud.password": ("***", "credential pw (c.yaml:2:71)", "credential"),
        }
        everything = await call(client, "GET", "/api/config/effective")
        assert "tOpsEcret" not in str(everything)
        assert {"store.commit", "gateway", "uplinks.cloud.timeout"} <= {row["path"] for row in everything["rows"]}
        part = await call(client, "GET", "/api/config/effective?offset=2&limit=3")
        assert part["rows"] == everything["rows"][2:5]
        assert part["total"] == len(everything["rows"])


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("apply", {"files": [{"name": "a.yaml"}]}, 400, "text"),
        ("apply", {"nothing": 1}, 400, "files"),
        ("apply", {"files": [], "base": "wrong"}, 409, "somebody else"),
        ("apply", {"files": [{"name": "x.yaml", "text": "y: 1"}]}, 422, "not usable"),
        ("apply", {"files": [{"name": "../x.yaml", "text": ""}]}, 400, "no name"),
        ("check", {"files": [{"name": "x.yaml", "text": ""}] * 2}, 400, "twice"),
        ("rollback", {"version": 17}, 404, "no version 17"),
        ("rollback", {"version": "x"}, 400, "int"),
        ("rollback", {"version": 1, "confirm_s": 1e9}, 400, "between"),
        ("confirm", {}, 409, "no change waits"),
    ],
)
async def test_bad_requests_have_a_line_and_a_status(folder, a_gateway, path, body, status, words):
    async with a_gateway(folder) as running, served(running) as client:
        before = {file.name: file.read_text() for file in folder.iterdir()}
        answer = await call(client, "POST", f"/api/config/{path}", status, **body)
        assert words in answer["error"]
        if status == 422:
            jsonschema.validate({"problems": answer["problems"]}, strict(ENDPOINTS[2].answer))
            assert answer["problems"][0]["file"] == "x.yaml"
        assert {file.name: file.read_text() for file in folder.iterdir()} == before


async def test_wrong_numbers_and_bodies(folder, a_gateway):
    async with a_gateway(folder) as running, served(running) as client:
        await call(client, "GET", "/api/config/version?version=x", 400)
        await call(client, "GET", "/api/config/effective?limit=x", 400)
        async with client.post("/api/config/check", data=b"{") as response:
            assert response.status == 400
        async with client.post("/api/config/check", data=io.BytesIO(bytes(40 << 20))) as response:
            assert response.status == 400
            assert "MiB" in (await response.json())["error"]


def test_what_shows_texts_or_changes_something_wants_an_admin():
    roles = {(one.method, one.path.rpartition("/")[2]): one.role for one in ENDPOINTS}
    assert {key for key, role in roles.items() if role == "read"} == {
        ("GET", "schema"),
        ("GET", "versions"),
        ("GET", "effective"),
    }
    assert {one.path.rpartition("/")[2] for one in ENDPOINTS if one.changes} == {"apply", "rollback", "confirm"}
