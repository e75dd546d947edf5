-- ARGV: id. Returns "missing" | "already-ended" | "ended" | "canceling"
return cancel(ARGV[1])
