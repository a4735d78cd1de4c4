"""Lists the tools of an MCP server with the official Python client, calls every one of them, and prints what came.

What to do is JSON on standard input: {"transport", "command", "url", "token", "calls": {tool: arguments}}.
"""

import asyncio
import json
import sys
from contextlib import asynccontextmanager

from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client


@asynccontextmanager
async def streams(task):
    headers = {"Authorization": f"Bearer {task['token']}"} if task.get("token") else {}
    if task["transport"] == "stdio":
        program, *arguments = task["command"]
        async with stdio_client(StdioServerParameters(command=program, args=arguments)) as ends:
            yield ends
    elif task["transport"] == "sse":
        async with sse_client(task["url"], headers=headers) as ends:
            yield ends
    else:
        async with create_mcp_http_client(headers=headers) as http:
            async with streamable_http_client(task["url"], http_client=http) as ends:
                yield ends


async def run(task):
    async with streams(task) as ends, ClientSession(*ends[:2]) as session:
        told = await session.initialize()
        tools = (await session.list_tools()).tools
        results = {}
        for name, arguments in task["calls"].items():
            # The client itself checks what a tool returns against the schema that it was listed with.
            result = await session.call_tool(name, arguments)
            text = "".join(block.text for block in result.content if block.type == "text")
            results[name] = {"failed": bool(result.is_error), "text": text}
        return {
            "server": told.server_info.name,
            "version": told.protocol_version,
            "tools": [tool.name for tool in tools],
            "results": results,
        }


json.dump(asyncio.run(run(json.load(sys.stdin))), sys.stdout)
