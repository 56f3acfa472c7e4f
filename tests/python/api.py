"""Holds the description of the server's API against the server, whose address is the argument."""

import json
import sys

import hypothesis
import requests
import schemathesis

EXAMPLES = 25


def main() -> int:
    address = sys.argv[1]
    description = requests.get(address + "/api/v1/openapi.json", timeout=30).json()
    schema = schemathesis.openapi.from_dict(description)
    schema.config.base_url = address
    operations, failures = 0, []
    settings = hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    for found in schema.get_all_operations():
        operation = found.ok()
        # It has no end.
        if operation.path == "/api/v1/events":
            continue
        operations += 1

        @settings
        @hypothesis.given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate(timeout=30)

        try:
            check()
        except Exception as failure:  # noqa: BLE001: all are told together
            failures.append(f"{operation.method.upper()} {operation.path}: {failure}")
    print(json.dumps({"operations": operations, "failures": len(failures)}))
    print("\n\n".join(failures))
    return 1 if failures or operations < 14 else 0


sys.exit(main())
