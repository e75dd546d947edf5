"""The OpenAI-compatible facade at ``/openai/v1``: programs that speak OpenAI's API work by changing ``base_url``.

Each call is a job like any other, so limits, usage, fairness and faults are those of jobs. A client that hangs up
cancels its job. Errors have OpenAI's shape. (https://platform.openai.com/docs/api-reference)
"""
