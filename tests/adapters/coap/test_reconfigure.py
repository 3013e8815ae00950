"""Devices come, change and go while the adapter runs."""

from gateway import quality as q
from tests.adapters.coap.peers import Fixed, Value, adapter_of, configured, pushing, serving


def values(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD]


def device(port, **options):
    return {"url": f"coap://127.0.0.1:{port}", "every": "50ms"} | options


async def test_devices_come_change_and_go_while_others_do_not_notice(ctx):
    stays, polled = Value(b"1"), Fixed(b"2")
    async with serving({"/stays": stays, "/polled": polled}) as port:
        kept = device(port, observe={"x": "/stays"})
        async with adapter_of(ctx, devices={"kept": kept}) as adapter:
            await ctx.until(lambda: values(ctx, "kept/x"))
            asked = stays.gets
            first = configured(devices={"kept": kept, "b": device(port, poll={"y": "/polled"})})
            assert await adapter.reconfigure(first)
            await ctx.until(lambda: values(ctx, "b/y"))
            second = configured(devices={"kept": kept, "b": device(port, poll={"z": {"path": "/polled", "unit": "V"}})})
            assert await adapter.reconfigure(second)
            await ctx.until(lambda: values(ctx, "b/z"))
            assert ctx.points.point(ctx.points.find("b/z")).unit == "V"
            assert ("b", False, "not asked any more") not in ctx.links
            assert await adapter.reconfigure(configured(devices={"kept": kept}))
            assert ctx.links[-1] == ("b", False, "not asked any more")
            await ctx.until(lambda: ctx.samples("b/z")[-1][2] & q.VALIDITY == q.INVALID)
            assert ctx.expected["b"] == 0
            assert stays.gets == asked
            assert stays.observers == 1
            assert adapter.config.devices.keys() == {"kept"}


async def test_points_that_change_are_looked_at_anew(ctx):
    async with (
        serving({"/x": Fixed(b"2")}) as port,
        adapter_of(ctx, devices={"a": device(port, poll={"x": "/x"})}) as adapter,
    ):
        await ctx.until(lambda: values(ctx, "a/x"))
        changed = configured(devices={"a": device(port, poll={"x": {"path": "/x", "unit": "V"}})})
        assert await adapter.reconfigure(changed)
        await ctx.until(lambda: ctx.points.point(ctx.points.find("a/x")).unit == "V")


async def test_a_server_alone_learns_to_ask(ctx):
    serve = {"listen": "127.0.0.1:0", "resources": {"/v/{device}/{point}": {}}}
    async with serving({"/x": Fixed(b"2")}) as port, adapter_of(ctx, serve=serve) as adapter:
        assert await adapter.reconfigure(configured(serve=serve, devices={"a": device(port, poll={"x": "/x"})}))
        await ctx.until(lambda: values(ctx, "a/x"))
        async with pushing(adapter.port) as push:  # the server was not touched
            assert (await push("/v/d/t", b"1")).code.is_successful()


async def test_all_else_wants_a_new_start(ctx):
    serve = {"listen": "127.0.0.1:0", "resources": {"/v/{device}/{point}": {}}}
    async with adapter_of(ctx, serve=serve) as adapter:
        assert not await adapter.reconfigure(configured(serve=serve | {"max_payload": "1KiB"}))
        assert not await adapter.reconfigure(configured(serve=serve, stale_after="5s"))
    assert not await adapter.reconfigure(configured(serve=serve))
