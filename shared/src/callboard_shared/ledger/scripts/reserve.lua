-- KEYS[1]: an idempotency key. ARGV: value, seconds. Returns the value that was there before, if any.
return redis.call("SET", KEYS[1], ARGV[1], "NX", "GET", "EX", ARGV[2])
