"""Validators of messages: built after the start, so that no request pays for one."""

import subprocess
import sys

SCRIPT = """
import asyncio
from interlock.operations.messages import build_messages
from interlock.operations.table import OPERATIONS
from interlock.contract.base import Message

asyncio.run(build_messages())
messages = [each for operation in OPERATIONS for each in (operation.request, operation.response)]
messages = [each for each in messages if isinstance(each, type) and issubclass(each, Message)]
assert messages
print([each.__name__ for each in messages if not each.__pydantic_complete__])
"""


def test_after_the_start_every_message_of_an_operation_is_built() -> None:
    built = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert built.stdout.strip() == "[]"
