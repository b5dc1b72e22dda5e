"""The messages of C1's Automations API: their fields, their JSON forms, and the guard that raw JSON passes first.

One file per family (`automations`, `steps`, `triggers`, `executions`, `search`, `webhooks`, `status`). Every message is
an immutable `interlock.contract.base.Message`. Bytes come in through `interlock.contract.parse` and go out through
`interlock.contract.base.to_json`; nothing else in the project reads or writes C1's spelling.
"""
