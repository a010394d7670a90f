"""The Model Context Protocol, by which AI assistants call tools: read a digit, read a number.

`digits mcp` serves it on standard input and output (`app.cli.mcp`), a service at /mcp if DIGITS_MCP is set
(`http`). Both offer the same `tools`. Nothing of this is imported otherwise: it needs the extra `mcp`.
"""
