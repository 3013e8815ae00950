"""Every view by HTTP, from a gateway through which samples go; and the document that describes them."""

import asyncio
import csv
import io
import urllib.parse
from pathlib import Path

import jsonschema
import pytest

from tests.support.console import api, fed

ASKED = {
    "/api/point": "name=m1/v",
    "/api/points": "q=v&sort=age&descending=true&limit=2",
    "/api/history": "name=m1/v",
    "/api/plan": "adapter=bus",
    "/api/history.csv": "q=m1",
    "/api/config/version": "version=1",
    "/api/findings/yaml": None,  # nothing was found here
    "/api/live": None,
    "/api/tap": None,
}


async def test_the_answers_are_what_the_document_says(running, admin):
    async with fed(running):
        document = await admin.get("/api/openapi.json")
        checked = 0
        for path, methods in document["paths"].items():
            if "get" not in methods or ASKED.get(path, "") is None:
                continue
            answer = await admin.get(f"{path}?{ASKED[path]}" if path in ASKED else path)
            content = methods["get"]["responses"]["200"]["content"]
            if "application/json" in content:
                schema = {**content["application/json"]["schema"], "components": document["components"]}
                jsonschema.validate(answer, schema, cls=jsonschema.Draft202012Validator)
                checked += 1
        assert checked > 20


async def test_every_route_is_in_the_document(running, admin):
    document = await admin.get("/api/openapi.json")
    jsonschema.Draft202012Validator.check_schema(document["components"]["schemas"])
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    served = {
        ("GET", "/health"), ("GET", "/ready"), ("GET", "/metrics"), ("POST", "/api/login"), ("POST", "/api/logout"),
        ("GET", "/api/overview"), ("GET", "/api/live"), ("GET", "/api/points.csv"), ("POST", "/api/bound"),
        ("POST", "/api/config/apply"), ("POST", "/api/findings/accept"), ("POST", "/api/alerts/acknowledge"),
    }  # fmt: skip
    assert served <= told
    for method, path in told:  # what is told is served: anything but "there is no such page"
        headers, _ = await _any(admin, method, path)
        assert headers
    for operation in (one for methods in document["paths"].values() for one in methods.values()):
        assert operation["summary"].endswith(".")
        for parameter in operation.get("parameters", []):
            assert parameter["schema"]


async def _any(client, method, path):
    async with client.session.request(method, client.url + path, headers=client.headers, data=b"") as answer:
        assert answer.status not in {404, 405} or path == "/api/config/version", (method, path, answer.status)
        return answer.headers, answer.status


async def test_the_overview_counts(running, admin):
    async with fed(running):
        await admin.get("/api/overview")
        events = await admin.events("/api/live?topics=overview", 3)
        last = events[-1][1]
        assert last["health"] == "ok", last["reasons"]
        assert last["rates"]["in_samples"] > 20
        assert last["rates"]["in_json_bytes"] > 50 * last["rates"]["in_samples"]
        assert last["totals"]["in_samples"] >= 20
        assert len(last["series"]["times_ms"]) == len(last["series"]["in_samples"]) >= 2
        links = {(row["kind"], row["name"]): row for row in last["links"]}
        assert links["adapter", "bus"]["devices"] == 3
        assert links["uplink", "out"]["state"] == "up"
        assert last["box"]["memory_total_bytes"] > last["box"]["own_memory_bytes"] > 10**7


async def test_the_graph_shows_what_flows(running, admin):
    async with fed(running):
        graph = (await admin.events("/api/live?topics=graph", 3))[-1][1]
        nodes = {node["id"] for node in graph["nodes"]}
        assert nodes == {"adapter:bus", "pipeline:live", "pipeline:sums", "pipeline:none", "uplink:out"}
        edges = {(edge["from"], edge["to"]): edge for edge in graph["edges"]}
        assert edges.keys() == {
            ("adapter:bus", "pipeline:live"), ("pipeline:live", "pipeline:sums"), ("pipeline:live", "uplink:out"),
            ("pipeline:sums", "uplink:out"), ("pipeline:none", "uplink:out"),
        }  # fmt: skip
        assert edges["adapter:bus", "pipeline:live"]["samples_s"] > 20
        assert edges["pipeline:live", "uplink:out"]["samples"] > 0


async def test_points_are_found(running, admin):
    async with fed(running):
        page = await admin.get("/api/points?q=M1%20V")
        assert page["total"] >= 6
        rows = [row for row in page["rows"] if row["name"] == "m1/v"]
        assert rows[0]["unit"] == "V"
        assert rows[0]["validity"] == "good"
        assert rows[0]["adapter"] == "bus"
        states = await admin.get("/api/points?q=*/s&sort=value")
        assert [row["name"] for row in states["rows"]] == ["m0/s", "m1/s", "m2/s"]
        assert {row["text"] for row in states["rows"]} <= {"on", "off"}
        one = await admin.get("/api/point?name=m1/v")
        assert one["pipelines"] == ["live"]
        assert (await admin.get("/api/points?quality=invalid"))["matched"] == 0
        assert (await admin.get("/api/points?device=m2&limit=0"))["rows"] == []
    await admin.get("/api/point?name=nobody", 404)


async def test_the_history_keeps_peaks(running, admin):
    async with fed(running):
        await running.until(lambda s: s["adapters"]["bus"]["samples"] > 300)
    await asyncio.sleep(1)  # what was sent last is on its way
    whole = await admin.get("/api/history?name=m1/v")
    assert not whole["thinned"]
    assert whole["values"] == sorted(whole["values"])
    assert whole["min"] == whole["values"] == whole["max"]
    thin = await admin.get("/api/history?name=m1/v&max=10")
    assert thin["thinned"]
    assert len(thin["times_ms"]) <= 10
    assert thin["unit"] == "V"
    assert min(thin["min"]) == min(whole["values"])
    assert max(thin["max"]) == max(whole["values"])
    middle = whole["times_ms"][len(whole["times_ms"]) // 2]
    late = await admin.get(f"/api/history?name=m1/v&since_ms={middle}")
    assert 0 < len(late["values"]) < len(whole["values"])
    await admin.get("/api/history?name=m1/v&since_ms=5&until_ms=5", 400)


async def test_downloads(running, admin):
    async with fed(running):
        pass
    rows = list(csv.DictReader(io.StringIO(await admin.get("/api/points.csv?q=v"))))
    assert {row["point"] for row in rows} >= {"m0/v", "m1/v", "m2/v"}
    samples = list(csv.DictReader(io.StringIO(await admin.get("/api/history.csv?q=m1/v"))))
    assert {row["point"] for row in samples} == {"m1/v"}
    assert [float(row["value"]) for row in samples] == sorted(float(row["value"]) for row in samples)
    assert samples[0]["unit"] == "V"
    await admin.get("/api/history.csv?q=nothing-like-that", 404)


async def test_what_was_rejected_and_logged(running, admin):
    await _send_nonsense(running)
    await running.until(lambda s: s["adapters"]["bus"]["errors"])
    found = await admin.get("/api/rejected")
    assert found["rejected"][0]["adapter"] == "bus"
    assert (await admin.get(f"/api/rejected?after={found['last']}"))["rejected"] == []
    events = await admin.get("/api/events?level=info")
    assert any("the console listens" in row["text"] for row in events["events"])
    assert (await admin.get(f"/api/events?after={events['last']}"))["events"] == []
    await admin.get("/api/events?level=loud", 400)


async def _send_nonsense(running):
    import aiomqtt

    async with aiomqtt.Client("127.0.0.1", running.broker.mqtt_port) as client:
        await client.publish("site/m1/telemetry", b"{not json", qos=1)


async def test_a_bound_is_changed(running, admin):
    answer = await admin.post("/api/bound", {"pipeline": "live", "step": "deadband", "bound": 2})
    assert answer == {"before": {"absolute": 0.5}, "bound": {"absolute": 2.0}}
    steps = (await admin.get("/api/pipelines"))["pipelines"]
    assert next(row for row in steps if row["name"] == "live")["steps"][0]["bound"] == {"absolute": 2.0}
    await admin.post("/api/bound", {"pipeline": "live", "step": "window", "bound": 2}, 400)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/api/points?limit=5000", "1000"),
        ("/api/points?colour=red", "colour: unknown parameter"),
        ("/api/overview?x=1", "there is none here"),
        ("/api/history", "name"),
        ("/api/live?topics=weather", "weather"),
        ("/api/live?topics=", "topics"),
        ("/api/live?topics=points&points=99999", "ids"),
        ("/api/live?topics=points&points=a", "ids"),
        ("/api/tap?after=live/nothing", "live/0 (deadband)"),
    ],
)
async def test_bad_questions_get_a_line(running, admin, path, says):
    answer = await admin.get(path, 400)
    assert says in answer["error"]
    assert "\n" not in answer["error"]


async def test_there_is_no_such_page(running, admin):
    assert "no such page" in (await admin.get("/api/nothing", 404))["error"]
    assert "not possible" in (await admin.post("/api/overview", {}, 405))["error"]


async def test_a_finding_as_yaml(running, admin):
    key = urllib.parse.quote("nobody")
    await admin.get(f"/api/findings/yaml?key={key}", 404)
    assert "nothing was found" in (await admin.post("/api/findings/accept", {"keys": ["x"]}, 400))["error"]


async def test_health_is_for_everybody(running):
    async with api(running, None) as nobody:
        assert await nobody.get("/health") == {"health": "ok"}  # why is for those who have signed in
        assert await nobody.get("/ready") == {"ready": True}
        await nobody.get("/metrics", 401)


async def test_the_documentation_names_every_path(running, admin):
    text = await asyncio.to_thread((Path(__file__).parents[3] / "docs" / "api.md").read_text)
    document = await admin.get("/api/openapi.json")
    assert [path for path in document["paths"] if path not in text] == []
